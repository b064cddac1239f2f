"""Boosters whose trees are walked by one call answer as they did, to the last bit."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, VotingClassifier
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from penstock.runtime.joinedtrees import join_trees

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(400, 6))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = np.nan
ROWS[:, 5] = RANDOM.integers(0, 9, 400)
THREE = RANDOM.integers(0, 3, 400)
QUICK = {"max_iter": 12, "max_depth": 4, "random_state": 0}
ODD = np.concatenate([ROWS, RANDOM.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 300.0, -1.0], (60, 6))])


class Holder:
    """A class of somebody's own around a model."""

    def __init__(self, model: object) -> None:
        self.model = model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the sandbox; threads that wait for each other take long on a busy machine."""
    with threadpool_limits(1, user_api="openmp"):
        yield


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many rows each tree was asked for."""
    asked: list[int] = []
    predict = TreePredictor.predict

    def counted(self: TreePredictor, X: np.ndarray, *args: object, **named: object) -> np.ndarray:
        asked.append(len(X))
        return predict(self, X, *args, **named)

    monkeypatch.setattr(TreePredictor, "predict", counted)
    return asked


@lru_cache
def fitted(kind: str) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    if kind == "regression":
        return HistGradientBoostingRegressor(**QUICK).fit(ROWS, np.nan_to_num(ROWS[:, 0]) * ROWS[:, 5])
    truth = THREE > 0 if kind == "two" else THREE
    categorical = [5] if kind == "categories" else None
    return HistGradientBoostingClassifier(**QUICK, categorical_features=categorical).fit(ROWS, truth)


def regression() -> HistGradientBoostingRegressor:
    return copy.deepcopy(fitted("regression"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("regression", "predict"),
        ("two", "predict_proba"),
        ("three", "predict_proba"),
        ("three", "decision_function"),
        ("categories", "predict_proba"),
    ],
)
def test_the_joined_tree_answers_to_the_last_bit(kind: str, method: str, dtype: type) -> None:
    model = fitted(kind)
    joined = copy.deepcopy(model)
    assert join_trees(joined) == 1
    asked = ODD if kind != "categories" else np.where(np.isinf(ODD), 5, ODD)  # those it refuses
    for rows in (1, 2, 7, len(ODD)):
        for at in range(0, len(ODD) - rows + 1, max(rows, 9)):
            part = asked[at : at + rows].astype(dtype)
            expected = getattr(model, method)(part)
            assert getattr(joined, method)(part).tobytes() == expected.tobytes()


@pytest.mark.parametrize("around", ["pipeline", "vote", "calibrated", "own", "own_pipeline"])
def test_boosters_are_found_where_models_keep_them(around: str, calls: list[int]) -> None:
    booster = HistGradientBoostingClassifier(**QUICK)
    model: object = {
        "pipeline": make_pipeline(FunctionTransformer(np.cbrt), booster),
        "vote": VotingClassifier([("a", booster)], voting="soft"),
        "calibrated": CalibratedClassifierCV(booster, cv=2, ensemble=False),
        "own": booster,
        "own_pipeline": make_pipeline(FunctionTransformer(np.cbrt), booster),
    }[around].fit(ROWS, THREE > 0)
    expected = model.predict_proba(ODD[:1])
    assert join_trees(Holder(model) if around.startswith("own") else model) == 1
    calls.clear()
    assert model.predict_proba(ODD[:1]).tobytes() == expected.tobytes()
    assert calls == [12]


def test_many_rows_go_the_way_they_went(calls: list[int]) -> None:
    model = regression()
    join_trees(model)
    calls.clear()
    many = np.zeros((2000, 6))
    assert len(set(model.predict(many))) == 1
    assert calls == [2000] * 12
    calls.clear()
    assert model.predict(many[:1])[0] == model.predict(many)[0]
    assert calls == [12] + [2000] * 12


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((1, 5)),
        np.zeros((0, 6)),
        np.zeros(6),
        np.zeros((1, 6), dtype=complex),
        np.array([["a"] * 6]),
        np.zeros((1, 6), dtype=object),
        [[1, 2, 3, 4, 5, 6]],
        pd.DataFrame(np.zeros((1, 6))),
    ],
    ids=["narrow", "none", "flat", "complex", "text", "objects", "list", "frame"],
)
def test_other_rows_are_refused_or_answered_as_before(rows: object) -> None:
    def said(model: HistGradientBoostingRegressor) -> str:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                outcome = str(model.predict(rows))
            except (ValueError, TypeError) as error:
                outcome = f"{type(error).__name__}: {error}"
        return f"{outcome}; {[str(one.message) for one in warned]}"

    model, joined = regression(), regression()
    join_trees(joined)
    assert said(joined) == said(model)


def test_a_model_that_knows_names_still_minds_them() -> None:
    frame = pd.DataFrame(ROWS, columns=list("abcdef"))
    model = HistGradientBoostingRegressor(**QUICK).fit(frame, ROWS[:, 5])
    expected = model.predict(frame[:1])
    assert join_trees(model) == 1
    assert model.predict(frame[:1]).tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[:1].rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(ROWS[:1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_and_what_is_fitted_again_answer_for_themselves(copied: Callable[..., object]) -> None:
    model = regression()
    expected = model.predict(ODD[:1])
    join_trees(model)
    other = copied(model).fit(ROWS[:, :4], ROWS[:, 5])
    again = HistGradientBoostingRegressor(**QUICK).fit(ROWS[:, :4], ROWS[:, 5])
    assert other.predict(ROWS[:1, :4]) == again.predict(ROWS[:1, :4])
    assert model.predict(ODD[:1]) == expected
    more = copied(model).set_params(warm_start=True, max_iter=14).fit(ROWS, ROWS[:, 5])
    assert more.predict(ODD[:1]) == more.predict(np.repeat(ODD[:1], 2000, axis=0))[0]
    assert more.predict(ODD[:1]) != expected


def test_a_booster_of_another_form_stays_as_it_is() -> None:
    model = regression()
    grown = model._predictors
    del model._predictors
    assert join_trees(model) == 0
    model._predictors = grown
    assert "_predict_iterations" not in vars(model)


def test_a_booster_that_adds_otherwise_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = regression()
    loop = type(model)._predict_iterations

    def otherwise(self: HistGradientBoostingRegressor, X: np.ndarray, trees: list, sums: np.ndarray, *rest: object):
        loop(self, X, trees, sums, *rest)
        sums *= 1 + 2**-52

    monkeypatch.setattr(type(model), "_predict_iterations", otherwise)
    assert join_trees(model) == 0


@pytest.mark.parametrize("model", [None, 3, "text", np.zeros(3), {"a": 1}, [1, 2], HistGradientBoostingRegressor()])
def test_what_has_no_boosters_stays_as_it_is(model: object) -> None:
    assert join_trees(model) == 0
