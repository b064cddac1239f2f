"""scikit-learn, alone and behind a pipeline; live objects, and the files that joblib, pickle and skops write."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import skops.io
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from bench.kinds.kind import Array, Brought, Kind
from bench.kinds.tables import ASKED, NUMBERS, TRAINED, flights, numbers

Estimator = Any
Save = Callable[[Estimator, Path], object]
WORDS = ("river", "gate", "water", "late", "plane", "wind", "snow", "crew", "fuel", "door")

ALONE: dict[str, Estimator] = {
    "linear regression": LinearRegression(),
    "elastic net": ElasticNet(),
    "logistic regression": LogisticRegression(max_iter=2000),
    "linear model by gradient descent": SGDClassifier(loss="log_loss", random_state=0),
    "naive Bayes": GaussianNB(),
    "linear discriminant analysis": LinearDiscriminantAnalysis(),
    "support vectors": SVC(random_state=0),
    "support vector regression": SVR(),
    "nearest neighbours": KNeighborsClassifier(),
    "decision tree": DecisionTreeClassifier(max_depth=8, random_state=0),
    "random forest": RandomForestClassifier(100, max_depth=8, random_state=0),
    "random forest regression": RandomForestRegressor(50, max_depth=8, random_state=0),
    "extra trees": ExtraTreesClassifier(50, max_depth=8, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=50, random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=50, random_state=0),
    "AdaBoost": AdaBoostClassifier(n_estimators=20, random_state=0),
    "perceptron": MLPClassifier((16,), max_iter=200, random_state=0),
}
PIPED: dict[str, Estimator] = {
    "logistic regression": LogisticRegression(max_iter=500),
    "random forest": RandomForestClassifier(50, max_depth=8, random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=50, random_state=0),
    "histogram boosting regression": HistGradientBoostingRegressor(max_iter=50, random_state=0),
    "calibrated support vectors": CalibratedClassifierCV(SVC(random_state=0), cv=3),
    "a vote": VotingClassifier(
        [("tree", DecisionTreeClassifier(max_depth=4)), ("linear", LogisticRegression(max_iter=500))], voting="soft"
    ),
    "a stack": StackingClassifier([("tree", DecisionTreeClassifier(max_depth=4)), ("bayes", GaussianNB())], cv=3),
    "bagged trees": BaggingClassifier(DecisionTreeClassifier(max_depth=6), n_estimators=10, random_state=0),
    "a search over settings": GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=3),
    "perceptron regression": MLPRegressor(hidden_layer_sizes=(16,), max_iter=100, random_state=0),
}


def piped(model: Estimator) -> Estimator:
    """Imputing, scaling and one-hot encoding before it."""
    prepared = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("n", prepared, NUMBERS), ("t", words, ["carrier"])]), clone(model))


def said(model: Estimator, rows: object) -> Mapping[str, Array]:
    """What an estimator says of rows, in a package's words."""
    predicted = np.asarray(model.predict(rows))
    if not is_classifier(model):
        return {"prediction": predicted}
    found: dict[str, Array] = {"label": predicted.astype(str)}
    if hasattr(model, "predict_proba"):
        found["probabilities"] = np.asarray(model.predict_proba(rows))
    return found


def as_live(model: Estimator, folder: Path) -> object:
    """As it stands in a notebook."""
    del folder
    return model


def as_pickle(model: Estimator, folder: Path) -> object:
    """As `pickle.dump` writes it."""
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return folder / "model.pkl"


def as_joblib(model: Estimator, folder: Path) -> object:
    """As `joblib.dump` writes it, compressed."""
    joblib.dump(model, folder / "model.joblib", compress=3)
    return folder / "model.joblib"


def as_skops(model: Estimator, folder: Path) -> object:
    """As skops writes it."""
    skops.io.dump(model, folder / "model.skops")
    return folder / "model.skops"


def tabular(model: Estimator, *, pipeline: bool, save: Save = as_live) -> Callable[[Path], Brought]:
    """How a kind over flights is made."""

    def bring(folder: Path) -> Brought:
        frame, asked = flights(TRAINED, seed=0), flights(ASKED, seed=1)
        truth = frame["late" if is_classifier(model) else "minutes"]
        if pipeline:
            trained = piped(model).fit(frame, truth)
            data, rows = frame.drop(columns=["late", "minutes"]), asked.drop(columns=["late", "minutes"])
            return Brought(save(trained, folder), data, rows, said(trained, rows))
        trained = clone(model).fit(numbers(frame).to_numpy(), truth)
        rows = numbers(asked)
        return Brought(save(trained, folder), numbers(frame), rows, said(trained, rows.to_numpy()))

    return bring


def _texts(folder: Path) -> Brought:
    """Words to a class."""
    del folder
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(WORDS, random.integers(2, 9))) for _ in range(TRAINED + ASKED)]
    truth = np.array(["weather" if "wind" in line or "snow" in line else "other" for line in lines])
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(lines[:TRAINED], truth[:TRAINED])
    frame = pd.DataFrame({"text": lines})
    return Brought(model, frame[:TRAINED], frame[TRAINED:].reset_index(drop=True), said(model, lines[TRAINED:]))


def kinds() -> Iterator[Kind]:
    """All of them."""
    for name, model in ALONE.items():
        yield Kind(f"scikit-learn: {name}", tabular(model, pipeline=False))
    for name, model in PIPED.items():
        yield Kind(f"scikit-learn: {name} in a pipeline", tabular(model, pipeline=True))
    forest = RandomForestClassifier(20, max_depth=8, random_state=0)
    for written, save in (("pickle", as_pickle), ("joblib", as_joblib), ("skops", as_skops)):
        yield Kind(f"scikit-learn: forest in a pipeline, by {written}", tabular(forest, pipeline=True, save=save))
    yield Kind("scikit-learn: words to a class", _texts)
