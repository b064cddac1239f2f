"""MLflow's clients, unmodified, in an environment of their own: the scoring client, the deployments client and command.

The plugin is installed there as anybody installs it, into a folder of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from dataplane_for_tests import DataPlane, route, until
from packages_for_tests import flights_answers, flights_like, linear_answers, linear_package

DRIVES = {"mlflow": "MLflow's scoring client, deployments client and command"}
pytestmark = pytest.mark.foreign
ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).parent / "mlflow_client.py"
PYTHON = ROOT / ".venv" / "mlflow" / "bin" / "python"
ROWS = [{"distance": 100.0, "carrier": "UA", "delay": None}, {"distance": 900.0, "carrier": "B6", "delay": 0.5}]
X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
needs_mlflow = pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up")


def run(*words: str, code: int = 0, **environment: str) -> str:
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    done = subprocess.run(
        [str(PYTHON), *words], capture_output=True, text=True, timeout=240, env={**kept, **quiet, **environment}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def heard(*words: str, **environment: str) -> dict:
    return json.loads(run(str(CLIENT), *words, **environment).splitlines()[-1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of two data planes of one endpoint each: MLflow's paths name none."""
    planes, ports = [], {}
    for name, builder in (("flights", flights_like), ("linear", linear_package)):
        home = tmp_path_factory.mktemp(name)
        one = DataPlane(home)
        one.write(route(name, one.add(builder, home / "p")))
        planes.append(one.start("--spares", "0", workers=1))
        ports[name] = one.port
    try:
        yield ports
    finally:
        for one in planes:
            one.stop()


@needs_mlflow
def test_the_scoring_client_asks_with_frames_and_columns(alone: dict[str, int]) -> None:
    answer = heard("scoring", str(alone["flights"]), json.dumps(ROWS))
    wanted = flights_answers(ROWS)
    assert [row["label"] for row in answer["predictions"]] == wanted["label"].tolist()
    got = [row["probabilities"] for row in answer["predictions"]]
    np.testing.assert_allclose(got, wanted["probabilities"], atol=1e-9)
    assert answer["labels"] == wanted["label"].tolist()
    assert "400" in answer["refused"]
    assert "distance" in answer["refused"], "the column that is missing is named"


@needs_mlflow
def test_the_scoring_client_asks_with_an_array(alone: dict[str, int]) -> None:
    answer = heard("tensors", str(alone["linear"]))
    np.testing.assert_allclose(answer["probabilities"], linear_answers(X)["probabilities"], atol=1e-6)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who installed Penstock beside MLflow."""
    if not PYTHON.exists():
        pytest.skip("make test sets its environment up")
    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    run(
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(folder / "site"),
        str(source),
    )
    return {"PYTHONPATH": str(folder / "site"), "PENSTOCK_COMMAND": str(ROOT / ".venv" / "bin" / "penstock")}


def test_the_deployments_client_adds_to_a_data_plane(tmp_path: Path, plugin: dict[str, str]) -> None:
    first, second = tmp_path / "models" / "a", tmp_path / "models" / "b"
    linear_package(first)
    linear_package(second, bias=9.0)
    plane = DataPlane(tmp_path)
    plane.start("--models", str(tmp_path / "models"), "--spares", "0", "--allow", "load", workers=2)
    try:
        until(lambda: len(plane.statuses()) == 2 and plane.ask("GET", "/v2/health/ready").status == 200)
        answer = heard("plane", f"penstock:http://127.0.0.1:{plane.port}", str(first), str(second), **plugin)
    finally:
        plane.stop()
    assert answer["created"]["flavor"] == "penstock"
    assert answer["refused"] == [
        "RESOURCE_ALREADY_EXISTS",
        "INVALID_PARAMETER_VALUE",
        "INVALID_PARAMETER_VALUE",
        "RESOURCE_DOES_NOT_EXIST",
        "RESOURCE_DOES_NOT_EXIST",
        "INVALID_PARAMETER_VALUE",
    ]
    for got, bias in zip(answer["answers"], (0.0, 9.0), strict=True):
        wanted = linear_answers(X, bias=bias)["probabilities"]
        np.testing.assert_allclose([row["probabilities"] for row in got], wanted, atol=1e-6)
    assert answer["described"]["inputs"][0]["name"] == "X"
    assert answer["explained"] == 2
    assert answer["listed"] == ["d"]
    assert answer["left"] == []


def logged(folder: Path) -> tuple[Path, LogisticRegression, pd.DataFrame]:
    """A scikit-learn model as MLflow's folder holds it, and rows it was not trained on."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(600, 3)), columns=["a", "b", "c"])
    truth = (frame.a + frame.b + rng.normal(0, 0.3, 600) > 0).astype(int)
    model = LogisticRegression().fit(frame[:300], truth[:300])
    folder.mkdir()
    joblib.dump(model, folder / "model.pkl")
    said = {
        "flavors": {
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
            "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
        },
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(said))
    example = {"columns": list(frame), "data": frame[:5].to_numpy().tolist()}
    (folder / "input_example.json").write_text(json.dumps(example))
    return folder, model, frame[300:].assign(y=truth[300:])


@pytest.mark.timeout(900)  # each of its commands loads MLflow, and most of them Penstock's platform, too
def test_the_deployments_command_packages_checks_and_releases(tmp_path: Path, plugin: dict[str, str]) -> None:
    folder, model, rows = logged(tmp_path / "logged")
    data = tmp_path / "validation.csv"
    rows.to_csv(data, index=False)
    (tmp_path / "penstock.yaml").write_text("api: {port: 0}\nserve: {port: 0, workers: 1}\n")
    environment = {**plugin, "PENSTOCK_HOME": str(tmp_path / ".penstock")}

    def deploy(verb: str, *words: str, code: int = 0) -> str:
        on = ("-t", "penstock", "--name", "risk")
        return run("-m", "mlflow", "deployments", verb, *on, *words, code=code, **environment)

    try:
        created = deploy("create", "-m", str(folder), "-C", f"data={data}", "-C", "label=y")
        assert "sklearn deployment risk is created" in created
        asked = rows[["a", "b", "c"]][:20].reset_index(drop=True)
        asked.to_json(tmp_path / "asked.json")
        got = json.loads(deploy("predict", "-I", str(tmp_path / "asked.json")).splitlines()[-1])["predictions"]
        assert [row["label"] for row in got] == model.predict(asked).tolist()
        np.testing.assert_allclose([row["probabilities"] for row in got], model.predict_proba(asked), atol=1e-5)
        answer = heard("home", "risk", str(folder), str(data), "y", **environment)
        assert {what: code for what, (code, _) in answer["refused"].items()} == {
            "unlabelled": "PERMISSION_DENIED",
            "there": "RESOURCE_ALREADY_EXISTS",
            "absent": "RESOURCE_DOES_NOT_EXIST",
        }
        assert "label" in answer["refused"]["unlabelled"][1], "an example proves the answers, and not the model"
        assert (answer["updated"]["version"], answer["got"]["release"]) == (2, 2)
        assert answer["listed"] == ["risk"]
        assert [one["name"] for one in answer["got"]["inputs"]] == ["a", "b", "c"]
        deploy("delete")
        assert "unloaded" in deploy("predict", "-I", str(tmp_path / "asked.json"), code=1)
    finally:
        command = [plugin["PENSTOCK_COMMAND"], "down", "--home", environment["PENSTOCK_HOME"]]
        subprocess.run(command, capture_output=True, timeout=60, check=False)
