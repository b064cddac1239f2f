"""The models that people bring: eleven of scikit-learn alone and in a pipeline, two boosted libraries, seeds fixed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

NUMBERS = ["delay", "distance", "hour"]

SCIKIT = {
    "linear": LinearRegression(),
    "ridge": Ridge(),
    "logistic": LogisticRegression(max_iter=500),
    "svc": SVC(),
    "svc-probability": SVC(probability=True, random_state=0),
    "knn": KNeighborsClassifier(),
    "tree": DecisionTreeClassifier(max_depth=6, random_state=0),
    "forest": RandomForestClassifier(9, max_depth=6, random_state=0),
    "extra-trees": ExtraTreesClassifier(9, max_depth=6, random_state=0),
    "gradient-boosting": GradientBoostingClassifier(n_estimators=9, random_state=0),
    "hist-gradient-boosting": HistGradientBoostingClassifier(max_iter=9, random_state=0),
    "mlp": MLPClassifier((8,), max_iter=60, random_state=0),
}


def make_frame(rows: int, seed: int) -> pd.DataFrame:
    """Flights, more or less: numbers with gaps, whole numbers, text, a text label and a number."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "delay": random.normal(size=rows).round(1) * 10,
            "distance": random.gamma(2.0, 400.0, rows),
            "hour": random.integers(0, 24, rows),
            "carrier": random.choice(["AA", "UA", "B6", "EV"], rows),
        }
    )
    score = frame["delay"] + frame["hour"] - frame["distance"] / 100 + random.normal(size=rows) * 5
    frame.loc[random.random(rows) < 0.1, "delay"] = np.nan
    frame["late"] = np.where(score > 3, "late", "on time")
    frame["minutes"] = score
    return frame


def in_pipeline(model: object) -> object:
    """Imputing, scaling and one-hot encoding before it."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    text = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("n", numbers, NUMBERS), ("t", text, ["carrier"])]), clone(model))


def fitted(frame: pd.DataFrame, model: object, *, pipeline: bool) -> tuple[object, pd.DataFrame]:
    """A model fitted on the frame, and rows as it takes them with the truth in ``y``."""
    truth = frame["minutes" if is_regressor(model) else "late"]
    if type(model).__name__.startswith("XGBClass"):
        truth = (truth == "late").astype(int)
    if pipeline:
        return in_pipeline(model).fit(frame, truth), frame.assign(y=truth)  # type: ignore[attr-defined]
    rows = frame[NUMBERS].fillna(0.0).astype(float)
    return clone(model).fit(rows.to_numpy(), truth), rows.assign(y=truth)  # type: ignore[attr-defined]


def kinds() -> Iterator[tuple[str, object, bool]]:
    """Name, unfitted model, whether inside a pipeline."""
    for name, model in SCIKIT.items():
        yield name, model, False
        yield f"{name} in a pipeline", model, True
