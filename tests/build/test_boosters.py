"""LightGBM's and XGBoost's models of every kind, beside their library: rankers, several classes, categories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from tests.asked_for_tests import asked, rows_near, served
from tests.dataplane_for_tests import DataPlane

from penstock.build.assemble import build
from penstock.build.examine import examine
from penstock.build.request import BuildRequest
from penstock.build.trees.thresholds import splits_of
from penstock.packages.read import Package

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(600, 4))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = np.nan
SCORE = np.nan_to_num(ROWS[:, 0]) + np.nan_to_num(ROWS[:, 1]) ** 2
TWO, THREE = (SCORE > 1).astype(int), np.digitize(SCORE, [0, 1])
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c", "d"])
MIXED = pd.DataFrame(
    {
        "a": ROWS[:, 0],
        "shop": pd.Categorical(RANDOM.choice(["x", "y", "z", "w"], 600)),
        "tier": pd.Categorical(RANDOM.choice(["p", "q"], 600)),
    }
)
CODES = np.column_stack([RANDOM.integers(0, 6, 600), ROWS[:, 0]])
EVEN = ((CODES[:, 0] % 2 == 0) | (CODES[:, 1] > 0.5)).astype(int)
SHOPS = ((MIXED["shop"] == "x") | (MIXED["a"] > 0.5)).astype(int)
QUERY = np.repeat(np.arange(60), 10)
L, X = {"n_estimators": 20, "verbose": -1}, {"n_estimators": 20}

Model = object


def trained(objective: str, rows: xgboost.DMatrix, **more: object) -> xgboost.Booster:
    return xgboost.train({"objective": objective, **more}, rows, 20)


SERVED: dict[str, tuple[Model, np.ndarray | pd.DataFrame]] = {
    "lightgbm-ranking": (lightgbm.LGBMRanker(**L).fit(ROWS, THREE, group=[10] * 60), ROWS),
    "lightgbm-three": (lightgbm.LGBMClassifier(**L).fit(ROWS, THREE).booster_, ROWS),
    "xgboost-ranking": (xgboost.XGBRanker(**X).fit(ROWS, THREE, qid=QUERY).get_booster(), ROWS),
    "xgboost-three": (xgboost.XGBClassifier(**X).fit(ROWS, THREE), ROWS),
    "xgboost-shops": (xgboost.XGBClassifier(enable_categorical=True, **X).fit(MIXED, SHOPS).get_booster(), MIXED),
}


def write(model: Model, path: Path) -> Path:
    if isinstance(model, lightgbm.Booster):
        model.save_model(path)
    elif isinstance(model, xgboost.Booster):
        path.write_bytes(model.save_raw("ubj"))
    else:
        joblib.dump(model, path)
    return path


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    folder = tmp_path_factory.mktemp("boosters")
    return {
        name: build(write(model, folder / name), BuildRequest(name=name, out=folder / "out", data=rows, lock=False))
        for name, (model, rows) in SERVED.items()
    }


@pytest.fixture(scope="module")
def plane(packages: dict[str, Package], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    started = served(DataPlane(tmp_path_factory.mktemp("plane")), packages)
    try:
        yield started
    finally:
        started.stop()


def predicted(model: Model, rows: np.ndarray) -> np.ndarray:
    """What the library itself answers."""
    if isinstance(model, xgboost.Booster):
        return model.predict(xgboost.DMatrix(rows))
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in SERVED if "shops" not in name])
def test_ten_thousand_rows_are_answered_as_the_library_answers_them(
    plane: DataPlane, packages: dict[str, Package], name: str
) -> None:
    model = SERVED[name][0]
    assert packages[name].manifest.engine == "onnxruntime"
    holder = type("Holder", (), {"booster": model})() if not hasattr(model, "fit") else model
    rows = rows_near(ROWS, splits_of(holder), count=10_000)
    answers, wanted = asked(plane, name, {"X": rows}), predicted(model, rows)
    if "three" in name:
        assert int((answers["label"] != wanted.argmax(axis=1)).sum()) == 0
        np.testing.assert_allclose(answers["probabilities"], wanted, atol=1e-5)
    else:
        assert packages[name].manifest.classes == ()
        np.testing.assert_allclose(answers["prediction"], wanted, rtol=1e-5, atol=1e-5)


def test_categories_of_a_booster_s_own_file_are_answered_as_xgboost_does(
    plane: DataPlane, packages: dict[str, Package]
) -> None:
    assert packages["xgboost-shops"].manifest.engine == "python"
    columns = {
        "a": MIXED[["a"]].to_numpy(),
        **{name: np.array(MIXED[[name]].astype(object)) for name in ("shop", "tier")},
    }
    model = SERVED["xgboost-shops"][0]
    wanted = model.predict(xgboost.DMatrix(MIXED, enable_categorical=True))  # type: ignore[attr-defined]
    np.testing.assert_allclose(asked(plane, "xgboost-shops", columns)["probabilities"][:, 1], wanted, atol=1e-6)
    # The same rows alone: a category's number hangs on no other row.
    alone = asked(plane, "xgboost-shops", {name: column[:1] for name, column in columns.items()})
    np.testing.assert_allclose(alone["probabilities"][:, 1], wanted[:1], atol=1e-6)


# -- in this process: compiled or not, equal or not

COMPILED: dict[str, Callable[[], Model]] = {
    "lightgbm's xendcg": lambda: lightgbm.LGBMRanker(objective="rank_xendcg", **L).fit(ROWS, THREE, group=[10] * 60),
    "lightgbm's one against all": lambda: (
        lightgbm.LGBMClassifier(objective="multiclassova", **L).fit(ROWS, THREE).booster_
    ),
    "xgboost's pairs": lambda: xgboost.XGBRanker(objective="rank:pairwise", **X).fit(ROWS, THREE, qid=QUERY),
    "xgboost's map": lambda: xgboost.XGBRanker(objective="rank:map", **X).fit(ROWS, TWO, qid=QUERY),
    "xgboost's classes without chances": lambda: trained(
        "multi:softmax", xgboost.DMatrix(ROWS, label=THREE), num_class=3
    ),
    "xgboost's raw logits": lambda: trained("binary:logitraw", xgboost.DMatrix(ROWS, label=TWO)),
    "lightgbm's averages": lambda: (
        lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.7, subsample_freq=1, **L).fit(ROWS, THREE)
    ),
    "lightgbm's regression": lambda: lightgbm.LGBMRegressor(**L).fit(ROWS, SCORE),
    "xgboost's regression": lambda: xgboost.XGBRegressor(**X).fit(ROWS, SCORE),
}  # fmt: skip
KEPT: dict[str, tuple[Callable[[], Model], pd.DataFrame | np.ndarray]] = {
    "lightgbm's categories": (lambda: lightgbm.LGBMClassifier(**L).fit(MIXED, SHOPS).booster_, MIXED),
    "lightgbm's numbered categories": (
        lambda: lightgbm.LGBMClassifier(**L).fit(CODES, EVEN, categorical_feature=[0]),
        CODES,
    ),
    "xgboost's categories": (lambda: xgboost.XGBClassifier(enable_categorical=True, **X).fit(MIXED, SHOPS), MIXED),
    "xgboost's numbered categories": (
        lambda: trained(
            "binary:logistic", xgboost.DMatrix(CODES, label=EVEN, feature_types=["c", "q"], enable_categorical=True)
        ),
        CODES,
    ),
}


def examined(model: Model, rows: pd.DataFrame | np.ndarray, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the sandbox's entry finds."""
    monkeypatch.chdir(place)
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows).rename(columns=str)
    frame.to_parquet(place / "rows.parquet")
    path = write(model, place / "model")
    return examine({"model": str(path), "data": str(place / "rows.parquet")}, place)  # type: ignore[return-value]


@pytest.mark.parametrize("name", COMPILED)
def test_what_answers_numbers_of_numbers_compiles(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(COMPILED[name](), ROWS, tmp_path, monkeypatch)
    parity = found["parity"]
    assert (found["engine"], parity["label_flips"], parity.get("reason", "")) == ("onnxruntime", 0, "")
    assert parity["threshold_rows"] > 100


@pytest.mark.parametrize("name", KEPT)
def test_categories_stay_with_their_library_and_say_so(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, rows = KEPT[name]
    found = examined(make(), rows, tmp_path, monkeypatch)
    assert found["engine"] == "python"
    assert "categorical splits" in found["parity"]["reason"]
