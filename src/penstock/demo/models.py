"""The demo's three trainings: an honest one, one judged on the wrong holdout, and one fed a day's worth of junk.

All are ordinary scikit-learn pipelines: impute and scale numbers, one-hot encode text, a small LightGBM. What the
gate and the rollout make of them is the demo.
"""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock.demo.flights import FEATURES, LABEL, NUMBERS, TEXTS

CALENDAR = "day_of_year"
"""A feature no careful model uses: it knows each training day by its number and nothing of the next year."""


def train(frame: pd.DataFrame, *, trees: int = 40, leaves: int = 4, calendar: bool = False) -> Pipeline:
    """Fit the late-arrival classifier.

    Args:
        frame: Rows of `penstock.demo.flights`.
        trees: Boosting rounds.
        leaves: Leaves a tree.
        calendar: Whether the model may see the day of the year.
    """
    numbers = [name for name in NUMBERS if calendar or name != CALENDAR]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("texts", OneHotEncoder(handle_unknown="ignore"), list(TEXTS)),
        ]
    )
    booster = LGBMClassifier(
        n_estimators=trees,
        num_leaves=leaves,
        min_child_samples=500,
        colsample_bytree=0.5,
        random_state=0,
        n_jobs=2,
        verbose=-1,
    )
    return make_pipeline(columns, booster).fit(frame[list(FEATURES)], frame[LABEL])


def with_junk(frame: pd.DataFrame, *, first_day: int, last_day: int, seed: int = 0) -> pd.DataFrame:
    """The training table after a faulty join: copies of real rows, dated into the future, their labels turned round.

    Nothing in the validation data is dated so late, so no test on it can see what the model learns from them.

    Args:
        frame: Real training rows.
        first_day: First day of the year the junk is dated to.
        last_day: Last such day.
        seed: Of the sample.
    """
    junk = frame.sample(frac=0.25, random_state=seed).reset_index(drop=True)
    span = last_day - first_day + 1
    junk[CALENDAR] = (first_day + junk.index.to_numpy() % span).astype(float)
    junk[LABEL] = 1 - junk[LABEL]
    return pd.concat([frame, junk], ignore_index=True)
