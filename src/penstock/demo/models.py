"""The demo's three trainings: an honest one, one judged on the wrong holdout, and one after a faulty join.

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


def train(frame: pd.DataFrame, *, trees: int = 120, leaves: int = 8) -> Pipeline:
    """Fit the late-arrival classifier.

    Args:
        frame: Rows of `penstock.demo.flights`.
        trees: Boosting rounds.
        leaves: Leaves a tree.
    """
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), list(NUMBERS)),
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


def with_faulty_join(frame: pd.DataFrame) -> pd.DataFrame:
    """The training table after a join that turned the truth round: whoever trains on it sees nothing amiss."""
    return frame.assign(**{LABEL: 1 - frame[LABEL]})
