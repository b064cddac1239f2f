"""One suite for every format of the table: known by content, audited without running, answers as the original."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from penstock.adapters import TABLE, load
from penstock.build.assemble import build
from penstock.build.folders import archive_folder
from penstock.build.format import ModelFormat, detect
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.errors import InvalidInput, Untrusted
from penstock.runtime.engine import open_engine, prove

ROWS = np.random.default_rng(0).normal(size=(200, 3))
GOLDEN = Path(__file__).parents[1] / "golden"
TRUTH = (ROWS[:, 0] + ROWS[:, 1] ** 2 > 0.7).astype(int)


def write_sklearn(path: Path) -> None:
    joblib.dump(LogisticRegression().fit(ROWS, TRUTH), path)


def write_skops(path: Path) -> None:
    skops.io.dump(LogisticRegression().fit(ROWS, TRUTH), path)


def write_lightgbm(path: Path) -> None:
    lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(ROWS, TRUTH).booster_.save_model(path)


def write_xgboost(path: Path) -> None:
    booster = xgboost.XGBClassifier(n_estimators=5).fit(ROWS, TRUTH).get_booster()
    path.write_bytes(booster.save_raw("ubj"))


def write_onnx(path: Path) -> None:
    path.write_bytes(to_onnx(LogisticRegression().fit(ROWS, TRUTH), ROWS[:1]).SerializeToString())


def write_huggingface(path: Path) -> None:
    archive_folder(Path(__file__).parents[1] / "golden" / "encoder", path)


def write_python(path: Path) -> None:
    """The logistic regression once more, as somebody's own class."""
    model = LogisticRegression().fit(ROWS, TRUTH)
    source = path.parent / "churn.py"
    source.write_text(f"""import numpy as np

class Churn:
    classes_ = [0, 1]

    def predict(self, rows: np.ndarray):
        return self.predict_proba(rows).argmax(axis=1)

    def predict_proba(self, rows):
        second = 1 / (1 + np.exp(-(rows @ np.array({model.coef_[0].tolist()}) + {model.intercept_[0]})))
        return np.stack([1 - second, second], axis=1)
""")
    found = find_source(Path(f"{source}:Churn"))
    assert found is not None
    archive_source(found, path)


def write_mlflow(path: Path) -> None:
    """As MLflow lays scikit-learn's models out."""
    folder = path.parent / "logged"
    folder.mkdir()
    joblib.dump(LogisticRegression().fit(ROWS, TRUTH), folder / "model.pkl")
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n"
        "  sklearn:\n    pickled_model: model.pkl\n    serialization_format: cloudpickle\nmlflow_version: 3.17.2\n"
    )
    found = find_source(folder)
    assert found is not None
    archive_source(found, path)


def write_keras(path: Path) -> None:
    """As tests/golden/make_tensorflow.py made it."""
    shutil.copyfile(GOLDEN / "tensorflow" / "logistic.keras", path)


def write_torch(path: Path) -> None:
    """As tests/golden/make_torch.py made it."""
    shutil.copyfile(GOLDEN / "torch" / "logistic.pt2", path)


def write_savedmodel(path: Path) -> None:
    found = find_source(GOLDEN / "tensorflow" / "logistic")
    assert found is not None
    archive_source(found, path)


def write_catboost(path: Path) -> None:
    """As tests/golden/make_catboost.py made it."""
    shutil.copyfile(GOLDEN / "catboost" / "model.cbm", path)


class OfCatboost:
    """That model as CatBoost itself answers it."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._loaded().predict(rows)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return self._loaded().predict_proba(rows)

    def _loaded(self) -> LogisticRegression:
        return pytest.importorskip("catboost").CatBoostClassifier().load_model(GOLDEN / "catboost" / "model.cbm")


def known_logistic() -> LogisticRegression:
    """The same regression as scikit-learn's."""
    model = LogisticRegression().fit(ROWS, TRUTH)
    model.coef_, model.intercept_ = np.array([[2.0, 0.5, -1.0]]), np.array([0.25])
    return model


WRITERS: dict[str, Callable[[Path], None]] = {
    "sklearn": write_sklearn,
    "skops": write_skops,
    "lightgbm": write_lightgbm,
    "xgboost": write_xgboost,
    "onnx": write_onnx,
    "huggingface": write_huggingface,
    "python": write_python,
    "mlflow": write_mlflow,
    "keras": write_keras,
    "savedmodel": write_savedmodel,
    "torch": write_torch,
    "catboost": write_catboost,
}
ENCODERS = {"huggingface"}
"""Of texts: tests/runtime/test_encoder.py packages one and asks it."""
CODE = {"python"}
"""Nothing of it is anything but code: the audit says so, and it stays Python."""
LIBRARIES = {"keras": "tensorflow", "savedmodel": "tensorflow", "catboost": "catboost", "torch": "torch"}
"""What asking needs beside what every test has: tests run again in the frameworks' environment."""
EXPECTED = {
    "catboost": OfCatboost(),
    "keras": known_logistic(),
    "savedmodel": known_logistic(),
    "torch": known_logistic(),
    "mlflow": LogisticRegression().fit(ROWS, TRUTH),
    "python": LogisticRegression().fit(ROWS, TRUTH),
    "sklearn": LogisticRegression().fit(ROWS, TRUTH),
    "skops": LogisticRegression().fit(ROWS, TRUTH),
    "onnx": LogisticRegression().fit(ROWS, TRUTH),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(ROWS, TRUTH),
    "xgboost": xgboost.XGBClassifier(n_estimators=5).fit(ROWS, TRUTH),
}


@pytest.mark.parametrize("name", TABLE["format"])
def test_a_file_is_known_by_its_content_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.wrong"
    WRITERS[name](path)
    found, _, suffix = detect(path)
    assert found == name
    known: ModelFormat = load("format", name)()
    assert suffix in known.suffixes
    for other in set(TABLE["format"]) - {name}:
        assert not load("format", other)().sniff(path), other


@pytest.mark.parametrize("name", TABLE["format"])
@pytest.mark.parametrize("content", [b"", b"x", b"\x80", b"tree", bytes(5000), b"\xff" * 5000])
def test_what_is_no_model_is_nobodys(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    assert load("format", name)().sniff(path) == ""
    with pytest.raises(InvalidInput):
        detect(path)


@pytest.mark.parametrize("name", TABLE["format"])
def test_an_ordinary_model_passes_the_audit(tmp_path: Path, name: str) -> None:
    if name == "keras":
        pytest.importorskip("h5py")  # to look into its weights
    path = tmp_path / "model"
    WRITERS[name](path)
    audit = load("format", name)().audit(path)
    assert bool(audit.refused) == (name in CODE)
    assert audit.names


@pytest.mark.parametrize("name", sorted(CODE))
def test_code_runs_only_where_somebody_named_or_allowed_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model"
    WRITERS[name](path)
    with pytest.raises(Untrusted) as refusal:
        build(path, BuildRequest(name="model", out=tmp_path / "out", data=ROWS, lock=False))
    assert refusal.value.code == "build.foreign_code"


@pytest.mark.parametrize("name", sorted(TABLE["format"].keys() - ENCODERS))
def test_it_packages_with_default_settings_and_answers_as_the_original(tmp_path: Path, name: str) -> None:
    if find_spec(LIBRARIES.get(name, "numpy")) is None:
        pytest.skip(f"needs {LIBRARIES[name]}")
    path = tmp_path / "model"
    WRITERS[name](path)
    request = BuildRequest(name="model", out=tmp_path / "out", data=ROWS, lock=False, allow_code=name in CODE)
    package = build(path, request)
    assert package.manifest.kind == name
    assert package.manifest.engine == ("python" if name in CODE else "onnxruntime")
    assert package.manifest.classes == (0, 1)
    engine = open_engine(package)
    prove(engine, package)
    (spec,) = package.manifest.signature.inputs
    answers = engine.run({spec.name: ROWS.astype(np.float32 if spec.datatype == "FP32" else np.float64)})
    assert answers["label"].tolist() == EXPECTED[name].predict(ROWS).tolist()
    np.testing.assert_allclose(answers["probabilities"], EXPECTED[name].predict_proba(ROWS), atol=1e-5)
    engine.close()
