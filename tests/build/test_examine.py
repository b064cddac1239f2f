"""Pipelines as people write them, with default settings: each becomes a package, or the reason why not is in words."""

from __future__ import annotations

import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

sys.path.insert(0, str(Path(__file__).parent))

from several_for_tests import Refused, examine_some, lay_ready, packaged

from penstock.build.examine import Examined
from penstock.build.schema import to_arrays
from penstock.runtime.engine import open_engine, prove
from penstock.statistics import reference

NUMBERS = ["age", "income"]
UNSEEN = "the original refuses unseen categories in column plan"


def people(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "income": random.normal(50, 15, rows).round(2),
            "plan": random.choice(["basic", "plus", "pro"], rows),
            "paid": random.random(rows) < 0.5,
        }
    )
    frame["visits"] = pd.array(np.where(np.arange(rows) % 11 == 0, None, random.integers(0, 9, rows)), dtype="Int64")
    frame["score"] = frame["age"] * 0.03 + (frame["plan"] == "basic") + random.normal(size=rows)
    return frame


FRAME = people(240, seed=0)
CATEGORIES = FRAME.assign(plan=FRAME["plan"].astype("category"))[[*NUMBERS, "plan"]]
WHOLE = FRAME[["age", "income", "plan", "paid"]]
TRUTH = (FRAME["score"] > 2).astype(int).to_numpy()
TEXT = np.where(TRUTH == 1, "yes", "no")
THREE = np.select([FRAME["score"] > 3, FRAME["score"] > 2], ["a", "b"], "c")


def columns(encoder: object) -> ColumnTransformer:
    return ColumnTransformer([("n", StandardScaler(), NUMBERS), ("t", encoder, ["plan"])])


def encoded(encoder: object) -> object:
    return make_pipeline(columns(encoder), LogisticRegression())


def passed_on(model: object) -> object:
    steps = ColumnTransformer([("all", "passthrough", [*NUMBERS, "plan"])]).set_output(transform="pandas")
    return make_pipeline(steps, model)


GOLD = FRAME.assign(plan=FRAME["plan"].where(FRAME.index < 237, "gold"))
BY_KIND = make_column_transformer(
    (StandardScaler(), make_column_selector(dtype_include=np.number)),
    (OneHotEncoder(), make_column_selector(pattern="plan")),
)
BY_PLACE = ColumnTransformer([("n", StandardScaler(), [0, 1]), ("t", OneHotEncoder(), [2])])
REST = ColumnTransformer([("t", OneHotEncoder(), ["plan"])], remainder="passthrough")
VOTERS = [("a", LogisticRegression()), ("b", RandomForestClassifier(5, max_depth=4, random_state=0))]
BOOSTER = {"n_estimators": 5}
LIGHT = lightgbm.LGBMClassifier(verbose=-1, **BOOSTER)
TREES = HistGradientBoostingClassifier(max_iter=5)

# name: model, rows, truth, what it is told about refused rows or why it was not compiled (a part of it)
COMPILED = {
    "one-hot": (encoded(OneHotEncoder()), FRAME, TRUTH, UNSEEN),
    "ordinal": (encoded(OrdinalEncoder()), FRAME, TRUTH, UNSEEN),
    "one-hot of numbers": (
        make_pipeline(ColumnTransformer([("t", OneHotEncoder(), ["age"])]), RandomForestClassifier(3, random_state=0)),
        FRAME, TRUTH, "",
    ),
    "flags": (make_pipeline(ColumnTransformer([("b", "passthrough", ["paid", "age"])]), SVC()), FRAME, TRUTH, ""),
    "numbers with gaps": (
        make_pipeline(ColumnTransformer([("n", SimpleImputer(), ["visits", "age"])]), LogisticRegression()),
        FRAME, TRUTH, "",
    ),
    "remainder": (make_pipeline(REST, LogisticRegression(max_iter=500)), WHOLE, TRUTH, UNSEEN),
    "by kind": (make_pipeline(BY_KIND, LogisticRegression()), WHOLE, TRUTH, UNSEEN),
    "by place": (make_pipeline(BY_PLACE, LogisticRegression()), WHOLE, TRUTH, UNSEEN),
    "calibrated": (make_pipeline(columns(OneHotEncoder()), CalibratedClassifierCV(LinearSVC())), FRAME, TEXT, UNSEEN),
    "voting": (VotingClassifier(VOTERS, voting="soft"), FRAME[NUMBERS], TEXT, ""),
    "stacking": (StackingClassifier(VOTERS), FRAME[NUMBERS], TEXT, ""),
    "search": (GridSearchCV(encoded(OneHotEncoder()), {"logisticregression__C": [1.0]}, cv=2), FRAME, TEXT, UNSEEN),
    "three classes": (encoded(OneHotEncoder()), FRAME, THREE, UNSEEN),
    "three classes by distance": (make_pipeline(columns(OneHotEncoder()), SVC()), FRAME, THREE, UNSEEN),
}  # fmt: skip
KEPT = {
    "lightgbm's categories": (LIGHT, CATEGORIES, TEXT, "categorical splits"),
    "xgboost's categories": (xgboost.XGBClassifier(enable_categorical=True, **BOOSTER), CATEGORIES, TRUTH, "splits"),
    "trees' categories": (TREES, CATEGORIES, TEXT, "does not take the graph"),
    "categories passed on": (passed_on(LIGHT), CATEGORIES, TEXT, "reads text as categories"),
    "a function of numpy": (
        make_pipeline(ColumnTransformer([("n", FunctionTransformer(np.log1p), ["age"])]), LogisticRegression()),
        FRAME, TEXT, "FunctionTransformer",
    ),
    "new categories in the data": (
        make_pipeline(columns(OneHotEncoder()), FunctionTransformer(np.spacing), LogisticRegression()),
        GOLD, TEXT, "FunctionTransformer",
    ),
    "calibrated around": (CalibratedClassifierCV(encoded(OneHotEncoder()), cv=2), FRAME, TEXT, "picks columns by name"),
}  # fmt: skip
OTHERWISE = ("dates", "new categories in the data")
"""Fitted on other rows than those that come with it."""
STARTED = ("lightgbm's categories", "categories passed on")
"""Of those kept as they are; starting a process for each would show nothing more."""
GAPS = FRAME.assign(paid=FRAME["paid"].astype(object).mask(FRAME.index % 9 == 0))
REFUSED = {
    "flags with gaps": (
        make_pipeline(ColumnTransformer([("b", OneHotEncoder(), ["paid"])]), LogisticRegression()),
        GAPS, TRUTH, "build.unfaithful",
    ),
    "gaps that mean something else": (
        make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["paid"])), SVC()),
        GAPS, TRUTH, "build.unfaithful",
    ),
    "chance": (DummyClassifier(strategy="uniform"), FRAME[NUMBERS], TRUTH, ""),
    "dates": (encoded(OneHotEncoder()), FRAME.assign(age=pd.Timestamp("2013-01-01")), TRUTH, "input.invalid"),
    "never fitted": (None, FRAME[NUMBERS], TRUTH, "build.answers_nothing"),
}  # fmt: skip
ALL = COMPILED | KEPT | REFUSED

Found = dict[str, tuple[Path, object, Examined | Refused]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("variety")
    models = {
        name: clone(model).fit(frame if name not in OTHERWISE else FRAME, truth)
        if model is not None
        else LogisticRegression()
        for name, (model, frame, truth, _) in ALL.items()
    }
    places = [lay_ready(folder / str(at), models[name], ALL[name][1]) for at, name in enumerate(ALL)]
    answers = examine_some(places, folder / "all")
    return {name: (place, models[name], one) for name, place, one in zip(ALL, places, answers, strict=True)}


@pytest.mark.parametrize("name", [*COMPILED, *KEPT])
def test_it_answers_as_it_did(found: Found, name: str) -> None:
    place, model, examined = found[name]
    _, frame, truth, words = ALL[name]
    assert isinstance(examined, Examined), examined
    package = packaged(place, examined, frame.assign(y=truth))
    parity = package.manifest.parity
    assert parity is not None
    assert (package.manifest.engine, parity.passed) == ("onnxruntime", True) if name in COMPILED else ("python", False)
    told = "; ".join(examined.refused) if name in COMPILED else parity.reason
    assert words in told
    assert "never-seen-before" not in package.path("parity.json").read_text()
    if name in KEPT and name not in STARTED:
        return
    engine = open_engine(package)
    try:
        prove(engine, package)
        rows = frame.iloc[:20]
        answers = engine.run(to_arrays(rows, package.manifest.signature.inputs))
    finally:
        engine.close()
    assert answers["label"].tolist() == model.predict(rows).tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_words(found: Found, name: str) -> None:
    refused = found[name][2]
    assert not isinstance(refused, Examined)
    assert ALL[name][3] in refused["code"]
    assert "never-seen-before" not in refused["message"]


def test_what_the_original_refuses_is_told_in_the_package(found: Found) -> None:
    _, _, examined = found["one-hot of numbers"]
    assert isinstance(examined, Examined)
    assert "the original refuses values out of range in column age" in examined.refused


def test_rows_of_the_data_that_it_refuses_are_left_out_and_counted(found: Found) -> None:
    place, _, examined = found["new categories in the data"]
    assert isinstance(examined, Examined)
    assert "the original refuses 3 rows of the data (ValueError: Found unknown categories ..." in examined.refused[0]
    package = packaged(place, examined, GOLD.assign(y=TEXT))
    assert package.manifest.source["refused"].startswith(examined.refused[0])
    assert "gold" not in package.path("parity.json").read_text()
    profile = reference.decode(package.path("profile.json").read_bytes())
    assert profile.labelled == len(GOLD) - 3
