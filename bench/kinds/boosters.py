"""XGBoost's, LightGBM's and CatBoost's kinds: classifiers, regressions and rankers, live and as their own files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost

from bench.kinds.kind import Brought, Kind
from bench.kinds.scikit import as_joblib, as_live, tabular
from bench.kinds.tables import ASKED, NUMBERS, TRAINED, flights

Estimator = Any
GROUP = 20
QUIET = {"verbose": False, "allow_writing_files": False, "random_seed": 0, "thread_count": 2}


def _rows(seed: int, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers with gaps, as boosters take them; and all of the table."""
    frame = flights(count, seed)
    return frame[NUMBERS].astype(float), frame


def _ranked(model: Estimator, *, by_id: bool = False) -> Callable[[Path], Brought]:
    """Rows in groups of so many; a ranker's answer is a score."""

    def bring(folder: Path) -> Brought:
        del folder
        rows, frame = _rows(0, TRAINED)
        relevance = np.clip(np.digitize(frame["minutes"], [-10, 0, 10]), 0, 3)
        if by_id:
            model.fit(rows, relevance, group_id=np.arange(TRAINED) // GROUP)
        else:
            model.fit(rows, relevance, group=[GROUP] * (TRAINED // GROUP))
        asked, _ = _rows(1, ASKED)
        return Brought(model, rows, asked, {"prediction": np.asarray(model.predict(asked))})

    return bring


def _classes(model: Estimator, save: Callable[[Estimator, Path], object]) -> Callable[[Path], Brought]:
    """Three classes as numbers, over rows with gaps."""

    def bring(folder: Path) -> Brought:
        rows, frame = _rows(0, TRAINED)
        model.fit(rows, np.digitize(frame["minutes"], [-5, 8]))
        asked, _ = _rows(1, ASKED)
        probabilities = np.asarray(model.predict_proba(asked))
        label = np.asarray(model.predict(asked)).reshape(len(asked)).astype(int).astype(str)
        return Brought(save(model, folder), rows, asked, {"label": label, "probabilities": probabilities})

    return bring


def _regression(model: Estimator, save: Callable[[Estimator, Path], object]) -> Callable[[Path], Brought]:
    def bring(folder: Path) -> Brought:
        rows, frame = _rows(0, TRAINED)
        model.fit(rows, frame["minutes"])
        asked, _ = _rows(1, ASKED)
        return Brought(save(model, folder), rows, asked, {"prediction": np.asarray(model.predict(asked))})

    return bring


def _own(name: str) -> Callable[[Estimator, Path], object]:
    """The library's own file."""

    def save(model: Estimator, folder: Path) -> object:
        booster = getattr(model, "booster_", model)
        booster.save_model(str(folder / name))
        return folder / name

    return save


def _cbm_json(model: Estimator, folder: Path) -> object:
    model.save_model(str(folder / "model.json"), format="json")
    return folder / "model.json"


def kinds() -> Iterator[Kind]:
    """All of them."""
    xgb: dict[str, Any] = {"n_estimators": 50, "random_state": 0}
    lgb: dict[str, Any] = {"n_estimators": 50, "verbose": -1, "random_state": 0}
    cat: dict[str, Any] = {"iterations": 50, **QUIET}
    yield Kind("XGBoost: classifier", _classes(xgboost.XGBClassifier(**xgb), as_live))
    yield Kind("XGBoost: classifier, its own JSON", _classes(xgboost.XGBClassifier(**xgb), _own("model.json")))
    yield Kind("XGBoost: regression, its own UBJ", _regression(xgboost.XGBRegressor(**xgb), _own("model.ubj")))
    yield Kind("XGBoost: ranker", _ranked(xgboost.XGBRanker(**xgb)))
    yield Kind("LightGBM: classifier", _classes(lightgbm.LGBMClassifier(**lgb), as_live))
    yield Kind("LightGBM: classifier, its own file", _classes(lightgbm.LGBMClassifier(**lgb), _own("model.txt")))
    yield Kind("LightGBM: regression", _regression(lightgbm.LGBMRegressor(**lgb), as_joblib))
    yield Kind("LightGBM: ranker", _ranked(lightgbm.LGBMRanker(**lgb)))
    yield Kind("LightGBM: in a pipeline", tabular(lightgbm.LGBMRegressor(**lgb), pipeline=True))
    yield Kind("CatBoost: classifier, its own file", _classes(catboost.CatBoostClassifier(**cat), _own("model.cbm")))
    yield Kind("CatBoost: classifier", _classes(catboost.CatBoostClassifier(**cat), as_live))
    yield Kind("CatBoost: regression, its own JSON", _regression(catboost.CatBoostRegressor(**cat), _cbm_json))
    yield Kind("CatBoost: ranker", _ranked(catboost.CatBoostRanker(**cat), by_id=True))
