"""Every kind of original answers by the package's conventions, as the model itself would.

The models here are our own, made a moment before, so they are opened in this process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from penstock.errors import BadConfig
from penstock.runtime.modeltable import table
from penstock.runtime.original import answer, answer_table, is_classifier, labels, load_original
from penstock.tensors import DTYPES, TensorSpec

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.random((120, 3))
TWO = (FEATURES[:, 0] > 0.5).astype(int)
THREE = (FEATURES[:, 0] * 3).astype(int)
MATRIX = (TensorSpec(name="X", datatype="FP64", shape=(-1, 3)),)


def ask(model: object) -> dict[str, np.ndarray]:
    return answer(model, MATRIX, {"X": FEATURES})


@pytest.mark.parametrize("truth", [TWO, THREE, TWO.astype(bool), THREE.astype(float), np.array(["a", "b"])[TWO]])
def test_a_classifier_answers_label_and_probabilities(tmp_path: Path, truth: np.ndarray) -> None:
    fitted = RandomForestClassifier(5, random_state=0).fit(FEATURES, truth)
    joblib.dump(fitted, tmp_path / "m.joblib")
    answers = ask(load_original(tmp_path / "m.joblib", "sklearn"))
    assert list(answers) == ["label", "probabilities"]
    assert answers["label"].dtype == (object if truth.dtype.kind == "U" else np.int64)
    np.testing.assert_array_equal(answers["label"], fitted.predict(FEATURES).astype(answers["label"].dtype))
    np.testing.assert_array_equal(answers["probabilities"], fitted.predict_proba(FEATURES))


MOST_PROBABLE = [
    DecisionTreeClassifier(max_depth=2), ExtraTreesClassifier(4), GaussianNB(), LogisticRegression(),
    GradientBoostingClassifier(n_estimators=5), HistGradientBoostingClassifier(max_iter=5),
    LinearDiscriminantAnalysis(), MLPClassifier((4,), max_iter=30), RandomForestClassifier(4),
    LGBMClassifier(n_estimators=5, verbose=-1), XGBClassifier(n_estimators=5),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", MOST_PROBABLE, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("truth", [TWO, THREE], ids=["two", "three"])
def test_a_label_read_from_the_probabilities_is_the_one_the_model_says(model: object, truth: np.ndarray) -> None:
    fitted = clone(model).fit(FEATURES, truth)
    wide = np.concatenate([FEATURES, 100 * RANDOM.normal(size=(2000, 3)), np.full((3, 3), 0.5)])
    asked = answer(fitted, MATRIX, {"X": wide})
    np.testing.assert_array_equal(asked["label"], fitted.predict(wide))
    np.testing.assert_array_equal(asked["probabilities"], fitted.predict_proba(wide))
    one = answer(fitted, MATRIX, {"X": wide[:1]})
    np.testing.assert_array_equal(one["label"], fitted.predict(wide[:1]))


class Contrary(LogisticRegression):
    """Says the opposite of what it finds probable."""

    def predict(self, rows: object) -> np.ndarray:
        return self.classes_[self.predict_proba(rows).argmin(axis=1)]


def test_who_has_a_predict_of_their_own_is_asked_for_it() -> None:
    fitted = Contrary().fit(FEATURES, TWO)
    np.testing.assert_array_equal(ask(fitted)["label"], fitted.predict(FEATURES))


class Fixed(GaussianNB):
    """Answers what it was made with, whatever it is asked."""

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return np.repeat(self.answers[None], len(X), axis=0)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.full(len(X), -1)


Fixed.__module__, Fixed.__name__ = "sklearn.naive_bayes", "GaussianNB"


@given(
    st.lists(
        st.one_of(st.sampled_from([0.0, 0.5, 0.5 + 1e-7, 1.0, np.nan, np.inf]), st.floats()), min_size=2, max_size=5
    )
)
def test_one_row_alone_is_as_clear_as_among_others(numbers: list[float]) -> None:
    model = Fixed()
    model.classes_, model.answers = np.arange(len(numbers)), np.array(numbers)
    alone, both = answer_table(model, np.zeros((1, 2))), answer_table(model, np.zeros((2, 2)))
    assert alone["label"].tolist() == both["label"].tolist()[:1]


def test_a_tie_is_the_models_to_decide() -> None:
    fitted = DecisionTreeClassifier(max_depth=1).fit(np.zeros((4, 3)), [0, 1, 1, 0])
    assert answer(fitted, MATRIX, {"X": FEATURES[:2]})["label"].tolist() == fitted.predict(FEATURES[:2]).tolist()


@pytest.mark.parametrize(("truth", "columns"), [(TWO, 2), (THREE, 3)])
@pytest.mark.parametrize("model", [LinearSVC(), SVC()])
def test_a_classifier_without_probabilities_answers_scores(model: object, truth: np.ndarray, columns: int) -> None:
    answers = ask(make_pipeline(StandardScaler(), model).fit(FEATURES, truth))
    assert list(answers) == ["label", "scores"]
    assert answers["scores"].shape == (120, columns)
    np.testing.assert_array_equal(answers["label"], answers["scores"].argmax(axis=1))


@pytest.mark.parametrize("targets", [FEATURES[:, 0], FEATURES[:, :2]])
def test_a_regression_answers_a_prediction(targets: np.ndarray) -> None:
    fitted = LinearRegression().fit(FEATURES, targets)
    assert not is_classifier(fitted)
    answers = ask(fitted)
    assert list(answers) == ["prediction"]
    np.testing.assert_array_equal(answers["prediction"], fitted.predict(FEATURES))


def test_a_frame_is_rebuilt_with_its_types_and_missing_text() -> None:
    table = pd.DataFrame(
        {"n": [1, 2, 3, 4], "f": [0.5, np.nan, 1, 2], "t": ["a", None, "b", "a"], "b": [True, False] * 2}
    )
    table["t"] = table["t"].astype(object)
    columns = ColumnTransformer([("t", OneHotEncoder(), ["t"]), ("n", "passthrough", ["n", "b"])])
    fitted = make_pipeline(columns, LogisticRegression()).fit(table, [0, 1, 1, 0])
    kinds = {"n": "INT64", "f": "FP64", "t": "BYTES", "b": "BOOL"}
    specs = tuple(TensorSpec(name=name, datatype=kind, shape=(-1, 1), nullable=True) for name, kind in kinds.items())
    arrays = {name: table[[name]].to_numpy() for name in table}
    arrays["t"] = np.array([["a"], [""], ["b"], ["a"]], dtype=object)
    table["t"] = table["t"].where(table["t"].notna(), np.nan)
    np.testing.assert_array_equal(answer(fitted, specs, arrays)["probabilities"], fitted.predict_proba(table))


def test_pandas_categories_are_rebuilt() -> None:
    table = pd.DataFrame({"t": pd.Categorical(["x", "y", "z"] * 40), "n": np.arange(120.0)})
    truth = np.arange(120) % 3 > 0
    specs = (
        TensorSpec(name="t", datatype="BYTES", shape=(-1, 1)),
        TensorSpec(name="n", datatype="FP64", shape=(-1, 1)),
    )
    rows = {"t": np.array([["y"], ["z"], ["x"]], dtype=object), "n": np.array([[1.0], [2.0], [3.0]])}
    asked = table.iloc[[1, 2, 0]].assign(n=[1.0, 2.0, 3.0])
    for fitted in (
        HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype").fit(table, truth),
        pytest.importorskip("lightgbm")
        .LGBMClassifier(n_estimators=3, min_child_samples=5, verbose=-1)
        .fit(table, truth),
    ):
        np.testing.assert_allclose(answer(fitted, specs, rows)["probabilities"], fitted.predict_proba(asked))


def test_text_goes_in_as_a_row_of_strings() -> None:
    words = ["late again", "on time", "late", "on the dot"]
    fitted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(words, [1, 0, 1, 0])
    spec = (TensorSpec(name="X", datatype="BYTES", shape=(-1,)),)
    answers = answer(fitted, spec, {"X": np.array(words, dtype=object)})
    np.testing.assert_array_equal(answers["probabilities"], fitted.predict_proba(words))


def test_skops_is_opened_too(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(FEATURES, TWO)
    skops.io.dump(fitted, tmp_path / "m.skops")
    np.testing.assert_array_equal(ask(load_original(tmp_path / "m.skops", "skops"))["label"], fitted.predict(FEATURES))


@pytest.mark.parametrize(
    ("kind", "estimator", "file"),
    [
        ("lightgbm", "LGBMClassifier", "m.txt"),
        ("lightgbm", "LGBMRegressor", "m.txt"),
        ("xgboost", "XGBClassifier", "m.json"),
        ("xgboost", "XGBRegressor", "m.ubj"),
    ],
)
@pytest.mark.parametrize("truth", [TWO, THREE])
def test_a_boosters_own_file_answers_as_its_estimator(
    tmp_path: Path, kind: str, estimator: str, file: str, truth: np.ndarray
) -> None:
    library = pytest.importorskip(kind)
    quiet = {"verbose": -1} if kind == "lightgbm" else {}
    fitted = getattr(library, estimator)(n_estimators=5, n_jobs=1, **quiet).fit(FEATURES, truth)
    getattr(fitted, "booster_", fitted).save_model(str(tmp_path / file))
    answers = ask(load_original(tmp_path / file, kind))
    if estimator.endswith("Regressor"):
        np.testing.assert_allclose(answers["prediction"], fitted.predict(FEATURES), rtol=1e-6)
        return
    np.testing.assert_array_equal(answers["label"], fitted.predict(FEATURES))
    np.testing.assert_allclose(answers["probabilities"], fitted.predict_proba(FEATURES), rtol=1e-6)


def test_labels_are_whole_numbers_or_text() -> None:
    assert labels(np.array([True, False])).tolist() == [1, 0]
    assert labels(np.array([[1.0], [2.0]])).tolist() == [1, 2]
    assert labels(np.array([1, 2], dtype=object)).dtype == np.int64
    assert labels(np.array([0.5, 1.0])).tolist() == ["0.5", "1.0"]


@pytest.mark.parametrize("truth", [TWO / 2 + 0.5, np.array([1, "a"], dtype=object)[TWO].astype(object)])
def test_a_label_does_not_depend_on_the_rows_beside_it(truth: np.ndarray) -> None:
    fitted = RandomForestClassifier(5, random_state=0).fit(FEATURES, truth.astype(str))
    fitted.classes_ = np.unique(truth) if truth.dtype.kind == "f" else np.array([1, "a"], dtype=object)
    for final in (fitted, SVC().fit(FEATURES, TWO)):
        if final is not fitted:
            final.classes_ = fitted.classes_
        many = answer(final, MATRIX, {"X": FEATURES})["label"]
        alone = [answer(final, MATRIX, {"X": row[None]})["label"] for row in FEATURES]
        assert {one.dtype for one in alone} == {many.dtype} == {np.dtype(object)}
        assert np.concatenate(alone).tolist() == many.tolist()
        assert set(many) == set(fitted.classes_.astype(str))


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", ["FP64", "FP32", "INT64", "BOOL"])
def test_columns_of_one_kind_make_the_frame_that_pandas_makes(kind: str, rows: int) -> None:
    columns = {name: (RANDOM.random((rows, 1)) * 9).astype(DTYPES[kind]) for name in "cab"}
    specs = tuple(TensorSpec(name=name, datatype=kind, shape=(-1, 1)) for name in columns)
    made = table(LinearRegression(), specs, columns)
    usual = pd.DataFrame({name: column.reshape(-1) for name, column in columns.items()})
    pd.testing.assert_frame_equal(made, usual, check_exact=True, check_flags=True)
    assert made.columns.dtype == usual.columns.dtype
    assert made.to_numpy().flags.f_contiguous == usual.to_numpy().flags.f_contiguous
    assert made.to_numpy().flags.c_contiguous == usual.to_numpy().flags.c_contiguous


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    joblib.dump({"weights": [1]}, tmp_path / "m.joblib")
    with pytest.raises(BadConfig, match="dict"):
        load_original(tmp_path / "m.joblib", "sklearn")
    with pytest.raises(BadConfig):
        load_original(tmp_path / "m.onnx", "onnx")


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("penstock.runtime.answering", {"penstock", "numpy", "msgspec"}),
        ("penstock.runtime.confined", {"penstock"}),
        ("penstock.runtime.engines.python", {"penstock", "numpy", "msgspec"}),
    ],
)
def test_each_side_imports_no_more_than_it_should(module: str, allowed: set[str]) -> None:
    code = (
        f"import sys; before = set(sys.modules); import {module}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names)))\n"
        "print('penstock.runtime.original' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = {name for name in out[0].split() if not name.startswith("_")}
    assert ours <= allowed | {"typing_extensions"}
    assert (out[1] == "True") == (module == "penstock.runtime.answering")
