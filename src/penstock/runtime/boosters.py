"""Boosters in their library's own file (LightGBM text, XGBoost JSON) with the manners of an estimator.

Only `penstock.runtime.original` imports this file, inside the sandbox; libraries are imported by name.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from penstock.runtime.heap import give_back
from penstock.tensors import Array

SUFFIXES = {"lightgbm": (".txt",), "xgboost": (".json", ".ubj")}


class Booster(Protocol):
    """What LightGBM's and XGBoost's boosters have in common."""

    def predict(self, data: object, **options: bool) -> Array:
        """Answer every row: probabilities or numbers."""


class BoosterRegressor:
    """A booster that answers numbers.

    Attributes:
        booster: The library's own object.
        feature_names_in_: Column names that it was trained on; empty where it knows none.
        enable_categorical: XGBoost was trained on categories, and takes text as such.
    """

    def __init__(self, booster: Booster, library: str, names: tuple[str, ...], objective: str) -> None:
        self.booster = booster
        self.feature_names_in_ = names
        self.enable_categorical = "c" in (getattr(booster, "feature_types", None) or ())
        self._library = library
        self._objective = objective

    def predict(self, rows: object) -> Array:
        """One number a row, ``(rows,)``."""
        return self.raw(rows)

    def raw(self, rows: object) -> Array:
        """What the booster itself answers."""
        if self._library == "lightgbm":
            return self.booster.predict(rows)
        names = list(self.feature_names_in_) or None
        categorical = {"enable_categorical": True} if self.enable_categorical else {}
        matrix = import_module("xgboost").DMatrix(rows, feature_names=names, **categorical)
        if self._objective == "multi:softmax":  # it would answer the class alone
            margins = np.asarray(self.booster.predict(matrix, output_margin=True), dtype=np.float64)
            powers = np.exp(margins - margins.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        raw = self.booster.predict(matrix)
        return 1 / (1 + np.exp(-raw.astype(np.float64))) if self._objective == "binary:logitraw" else raw


class BoosterClassifier(BoosterRegressor):
    """A booster that answers classes, numbered from 0."""

    @property
    def classes_(self) -> Array:
        """The class numbers; two unless the booster was trained on more."""
        return np.arange(max(2, _classes(self.booster, self._library)))

    def predict_proba(self, rows: object) -> Array:
        """Probabilities, ``(rows, classes)``."""
        raw = np.asarray(self.raw(rows))
        return raw if raw.ndim == 2 else np.stack([1 - raw, raw], axis=1)

    def predict(self, rows: object) -> Array:
        """The most probable class, ``(rows,)``."""
        raw = np.asarray(self.raw(rows), dtype=np.float64)
        chosen = raw.argmax(axis=1) if raw.ndim == 2 else raw > 0.5
        return np.asarray(chosen, dtype=np.int64)


def load_booster(path: Path, library: str) -> BoosterRegressor:
    """Read a booster's own file and see from its objective what it answers."""
    booster = import_module(library).Booster(model_file=str(path))
    if library == "lightgbm":
        objective, names = str(booster.dump_model(num_iteration=1).get("objective", "")), booster.feature_name()
        # LightGBM numbers the columns itself where it was given none.
        names = () if all(name == f"Column_{place}" for place, name in enumerate(names)) else tuple(names)
    else:
        objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
        names = tuple(booster.feature_names or ())
    give_back()
    kind = BoosterClassifier if objective.startswith(("binary", "multi", "cross")) else BoosterRegressor
    return kind(booster, library, names, objective)


def _classes(booster: object, library: str) -> int:
    """How many classes the booster was trained on, 1 for two."""
    if library == "lightgbm":
        return int(booster.dump_model(num_iteration=1)["num_class"])  # type: ignore[attr-defined]
    parameters = json.loads(booster.save_config())["learner"]["learner_model_param"]  # type: ignore[attr-defined]
    return int(parameters["num_class"])
