"""MLflow's folders: read strictly, handed to the formats that know them; code of their own runs in the sandbox alone.

Some are made by MLflow itself, in another process: its packages are of its own environment, behind ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.build.assemble import build
from penstock.build.dependencies.requirements import differences
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, InvalidInput, NotFound, PenstockError, Untrusted
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.runtime.mlmodel import read_mlmodel

MLFLOW = Path(__file__).parents[2] / ".venv" / "mlflow" / "lib"
SITE = next(iter(MLFLOW.glob("python*/site-packages")), None)
needs_mlflow = pytest.mark.skipif(SITE is None, reason="make test sets its environment up")
FRAME = pd.DataFrame({"age": np.arange(18, 58), "income": np.linspace(10.0, 80.0, 40)})

LOG = """
import sys
sys.path.append({site!r})
import mlflow.pyfunc, mlflow.sklearn, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression
X = pd.DataFrame({{"age": np.arange(18, 58), "income": np.linspace(10.0, 80.0, 40)}})
model = LogisticRegression(max_iter=1000).fit(X, X.age > 35)
common = dict(signature=infer_signature(X, X.age * 2.0), input_example=X.head(20))
wanted = ["scikit-learn==1.0.1", "numpy>=1", "mlflow==3.17.2"]
mlflow.sklearn.save_model(model, {folder!r} + "/sklearn", pip_requirements=wanted, **common)
class Twice(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.by = float(open(context.artifacts["by"]).read())
    def predict(self, context, model_input, params=None):
        return model_input["age"] * self.by + model_input["income"]
open({folder!r} + "/by.txt", "w").write("2")
mlflow.pyfunc.save_model({folder!r} + "/pyfunc", python_model=Twice(), artifacts={{"by": {folder!r} + "/by.txt"}},
                         pip_requirements=["mlflow==3.17.2"], **common)
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that MLflow wrote."""
    folder = tmp_path_factory.mktemp("logged")
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    script = LOG.format(site=str(SITE), folder=str(folder))
    done = subprocess.run([sys.executable, "-c", script], env=quiet, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def made(model: Path, out: Path, data: pd.DataFrame | None = None, **more: object) -> Package:
    return build(model, BuildRequest(name="logged", out=out, data=data, lock=False, **more))


@needs_mlflow
def test_a_logged_pipeline_is_compiled_from_its_own_example_rows(logged: Path, tmp_path: Path) -> None:
    package = made(Path(f"mlflow:{logged / 'sklearn'}"), tmp_path)
    manifest = package.manifest
    assert (manifest.kind, manifest.engine, manifest.classes) == ("mlflow", "onnxruntime", (False, True))
    assert [(one.name, one.datatype) for one in manifest.signature.inputs] == [("age", "INT64"), ("income", "FP64")]
    assert "scikit-learn==1.0.1: " in manifest.source["requirements_differ"]
    assert "numpy" not in manifest.source["requirements_differ"]
    assert "model/original/MLmodel" in manifest.files
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({name: FRAME[name].to_numpy().reshape(-1, 1) for name in FRAME})
    engine.close()
    assert answers["label"].tolist() == (FRAME["age"] > 35).astype(int).tolist()


@needs_mlflow
def test_code_of_its_own_is_refused_until_allowed_and_then_needs_mlflow(logged: Path, tmp_path: Path) -> None:
    with pytest.raises(Untrusted, match=r"mlflow\.pyfunc\.model, .*python_model\.pkl") as refusal:
        made(logged / "pyfunc", tmp_path)
    assert refusal.value.code == "build.foreign_code"
    with pytest.raises(BadConfig, match="mlflow is not installed here") as lacking:
        made(logged / "pyfunc", tmp_path, allow_code=True)
    assert "mlflow==3.17.2" in lacking.value.hint


@needs_mlflow
def test_code_of_its_own_runs_behind_the_walls_where_mlflow_is(
    logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(SITE)])
    package = made(logged / "pyfunc", tmp_path, FRAME, allow_code=True, patience_s=500.0)
    assert (package.manifest.kind, package.manifest.engine) == ("mlflow", "python")
    assert "\nmlflow-skinny==3.17.2" in package.path("requirements.lock").read_text()
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({name: FRAME[name].to_numpy().reshape(-1, 1) for name in FRAME})
    engine.close()
    np.testing.assert_allclose(answers["prediction"], FRAME["age"] * 2 + FRAME["income"])
    assert "mlflow" not in sys.modules, "nothing of it was loaded in this process"


# -- folders written by hand


def written(folder: Path, tree: object, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def columns(**types: str) -> dict[str, str]:
    return {"inputs": json.dumps([{"type": kind, "name": name, "required": True} for name, kind in types.items()])}


def test_a_loader_of_its_own_needs_no_mlflow(tmp_path: Path) -> None:
    tree = {
        "flavors": {"python_function": {"loader_module": "own_loader", "data": "by.txt"}},
        "signature": columns(age="double"),
    }
    code = (
        "class Model:\n    def __init__(self, by): self.by = by\n    def predict(self, rows):\n"
        "        assert str(rows['age'].dtype) == 'float64'\n        return rows['age'] * self.by\n\n"
        "def _load_pyfunc(path):\n    return Model(float(open(path).read()))\n"
    )
    folder = written(tmp_path / "m", tree, own_loader__py=code, by__txt="3")
    package = made(folder, tmp_path / "out", FRAME, allow_code=True)
    assert package.manifest.signature.input_names() == ("age",)
    engine = open_engine(package)
    prove(engine, package)
    assert engine.run({"age": np.array([[20], [30]])})["prediction"].tolist() == [60.0, 90.0]
    engine.close()


def test_a_booster_s_own_file_is_known_by_its_content(tmp_path: Path) -> None:
    booster = xgboost.XGBClassifier(n_estimators=3).fit(FRAME, FRAME["age"] > 35).get_booster()
    tree = {
        "flavors": {"python_function": {"loader_module": "mlflow.xgboost"}, "xgboost": {"data": "model.xgb"}},
        "signature": columns(age="long", income="double"),
    }
    folder = written(tmp_path / "m", tree)
    (folder / "model.xgb").write_bytes(booster.save_raw("ubj"))
    package = made(folder, tmp_path / "out", FRAME)
    assert (package.manifest.kind, package.manifest.engine) == ("mlflow", "onnxruntime")


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (columns(age="long", income="string"), "income is string in MLflow's signature"),
        (columns(age="long", weight="double"), "lacks columns of MLflow's signature: weight"),
        (columns(age="long"), "data lacks columns|reads columns"),
    ],
)
def test_data_unlike_the_signature_is_refused(tmp_path: Path, signature: dict[str, str], words: str) -> None:
    booster = xgboost.XGBRegressor(n_estimators=3).fit(FRAME, FRAME["age"]).get_booster()
    tree = {
        "flavors": {"python_function": {"loader_module": "mlflow.xgboost"}, "xgboost": {"data": "model.json"}},
        "signature": signature,
    }
    folder = written(tmp_path / "m", tree)
    (folder / "model.json").write_bytes(booster.save_raw("json"))
    with pytest.raises(InvalidInput, match=words):
        made(folder, tmp_path / "out", FRAME)


LOADED = "flavors:\n  python_function:\n    loader_module: own\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "flavors: 1",
        "flavors: {}",
        "\x00",
        "a: [",
        "flavors: &a {python_function: {loader_module: own}}\nb: *a",
        "flavors: {python_function: {loader_module: !!python/name:os.system own}}",
        "!!python/object/apply:os.system [true]",
        "flavors: {python_function: {loader_module: 'os; x'}}",
        "flavors: {python_function: {loader_module: ../own}}",
        LOADED + "    loader_module: other\n",
        LOADED + "    data: ../../etc/passwd\n",
        LOADED + "    data: /etc/passwd\n",
        LOADED + "    data: missing\n",
        LOADED + "    data: [1]\n",
        LOADED + "    code: linked\n",
        LOADED + "signature: {inputs: '{'}\n",
        LOADED + """signature: {inputs: '[{"name": "a", "type": "long"}, {"name": "a", "type": "long"}]'}\n""",
        LOADED + "deep: " + "[" * 60 + "]" * 60 + "\n",
        LOADED + "long: [" + "1," * 60_000 + "]\n",
        LOADED + "# " + "x" * (1 << 20),
    ],
)
def test_an_mlmodel_that_says_too_much_or_too_little_is_refused(tmp_path: Path, text: str) -> None:
    folder = written(tmp_path / "m", text)
    (folder / "linked").symlink_to("/etc")
    with pytest.raises((Untrusted, BadConfig)):
        read_mlmodel(folder)


def test_the_refused_ones_differ_from_a_good_one_by_what_is_wrong(tmp_path: Path) -> None:
    assert read_mlmodel(written(tmp_path / "m", LOADED)).loader == "own"


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["flavors", "python_function", "loader_module", "data", "sklearn", "signature", "inputs"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(TREES.map(yaml.safe_dump), st.text(max_size=60)))
def test_any_mlmodel_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "MLmodel").write_bytes(text.encode(errors="surrogatepass"))
    try:
        found = read_mlmodel(folder)
    except PenstockError:
        return
    assert found.loader


def test_a_folder_without_an_mlmodel_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        made(Path(f"mlflow:{tmp_path}"), tmp_path / "out")


def test_requirements_are_compared_name_by_name() -> None:
    text = """
    # a comment
    scikit-learn==1.0.1  # old
    numpy>=1.20
    Typing_Extensions==4.0 --hash=sha256:0
    pandas; python_version < "3"
    -r other.txt
    mlflow
    """
    pins = {"scikit-learn": "1.7.1", "numpy": "2.1.0", "typing-extensions": "4.0"}
    assert differences(text, pins) == (
        "scikit-learn==1.0.1: 1.7.1 here",
        "mlflow: not in the lock",
        "1 lines that are no name and version",
    )
