"""One's own model, from a saved file to an answer and back, as the README has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tritonclient.http
from sklearn.pipeline import Pipeline

from tests.journeys.conftest import Typist, customers, trained

ROW = {"age": 42, "income": 30.5, "plan": "basic"}
KSERVE = Path(__file__).parents[2] / ".venv" / "kserve" / "bin" / "python"
CLIENT = Path(__file__).parents[1] / "foreign" / "kserve_client.py"

pytestmark = pytest.mark.timeout(900)


def test_a_saved_pipeline_answers_in_four_commands(typist: Typist, model_files: tuple[Path, Path, Pipeline]) -> None:
    packaged = typist.json(
        "package", "model.joblib", "--name", "churn", "--data", "validation.parquet", "--label", "churned"
    )
    assert packaged["model"] == "churn"
    assert packaged["version"] == 1
    assert packaged["digest"].startswith("sha256:")
    assert packaged["engine"] == "onnxruntime"

    checked = typist.json("check", "churn@1")
    assert checked["verdict"] == "pass"
    assert {finding["check"] for finding in checked["findings"]} >= {"quality", "robustness", "stability", "scan"}
    assert Path(checked["report"]).read_text().startswith("<!doctype html>")

    released = typist.json("release", "churn@1")
    assert released["endpoint"] == "churn"
    assert released["release"] == 1
    assert released["version"] == 1
    assert released["phase"] == "live"

    expected = model_files[2].predict_proba(pd.DataFrame([ROW]))[0]
    _ask_with_curl(released["url"], expected)
    _ask_with_triton(released["url"], expected)
    _ask_with_kserve(released["url"], expected)

    status = typist.json("status")
    assert [one["endpoint"] for one in status["endpoints"]] == ["churn"]
    assert typist.json("verify")["events"] > 5


def _ask_with_curl(url: str, expected: np.ndarray) -> None:
    curl = shutil.which("curl")
    if curl is None:
        if os.environ.get("CI"):
            pytest.fail("curl is missing: apt-get install curl")
        return
    datatypes = {int: "INT64", float: "FP64", str: "BYTES"}
    inputs = [
        {"name": name, "datatype": datatypes[type(value)], "shape": [1], "data": [value]} for name, value in ROW.items()
    ]
    body = json.dumps({"inputs": inputs})
    command = [curl, "-sf", f"{url}/v2/models/churn/infer", "-d", body]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
    outputs = {one["name"]: one["data"] for one in answer["outputs"]}
    assert outputs["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert outputs["label"] == [int(expected.argmax())]


def _ask_with_triton(url: str, expected: np.ndarray) -> None:
    client = tritonclient.http.InferenceServerClient(url.removeprefix("http://"))
    inputs = []
    for name, value in ROW.items():
        datatype = {"age": "INT64", "income": "FP64", "plan": "BYTES"}[name]
        dtype = {"INT64": np.int64, "FP64": np.float64, "BYTES": np.object_}[datatype]
        tensor = tritonclient.http.InferInput(name, [1, 1], datatype)
        tensor.set_data_from_numpy(np.array([[value]], dtype=dtype))
        inputs.append(tensor)
    answer = client.infer("churn", inputs)
    assert answer.as_numpy("probabilities")[0] == pytest.approx(expected, abs=1e-5)
    assert client.is_model_ready("churn")
    client.close()


def _ask_with_kserve(url: str, expected: np.ndarray) -> None:
    if not KSERVE.exists():
        if os.environ.get("CI"):
            pytest.fail("the KServe client is missing: make .venv/kserve/ready")
        return
    command = [str(KSERVE), str(CLIENT), url, "churn", json.dumps(ROW)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["v2"]["probabilities"] == pytest.approx(expected, abs=1e-5)
    assert answer["v2"]["label"] == [int(expected.argmax())]
    assert answer["ready"]
    assert answer["live"]
    assert len(answer["v1"]) == 1


def test_a_worse_version_is_refused_and_a_better_one_taken_back(
    typist: Typist, model_files: tuple[Path, Path, Pipeline]
) -> None:
    joblib = pytest.importorskip("joblib")
    words = ("--name", "churn", "--data", "validation.parquet", "--label", "churned")
    typist.json("package", "model.joblib", *words)
    refusal = typist.json("release", "churn@1", code=1)
    assert refusal["error"] == "gate.no_verdict"
    typist.json("check", "churn@1")
    typist.json("release", "churn@1")

    shuffled = customers(2000, seed=2)
    shuffled["churned"] = np.random.default_rng(0).permutation(shuffled["churned"])
    joblib.dump(trained(shuffled), typist.folder / "worse.joblib")
    typist.json("package", "worse.joblib", *words)
    verdict = typist.json("check", "churn@2", code=1)
    assert verdict["verdict"] == "refuse"
    assert typist.json("release", "churn@2", code=1)["error"] == "gate.no_verdict"

    joblib.dump(trained(customers(8000, seed=3)), typist.folder / "better.joblib")
    typist.json("package", "better.joblib", *words)
    typist.json("check", "churn@3")
    assert typist.json("release", "churn@3")["version"] == 3
    back = typist.json("rollback", "churn", "--reason", "a try")
    assert back["endpoint"] == "churn"
    assert back["version"] == 1
    assert back["release"] == 3
    assert back["seconds"] < 60, "how quick it is, tests/release/test_journeys.py measures alone"


def test_outcomes_and_trace_find_the_prediction_again(passed: Typist) -> None:
    typist, pipeline = passed, trained(customers(2000))
    typist.json("release", "churn@1")
    typist.run("predict", "churn", "--data", "validation.parquet", "--output", "answers.csv")
    answers = pd.read_csv(typist.folder / "answers.csv")
    assert len(answers) == 2000
    assert list(answers["label"]) == list(pipeline.predict(customers(2000, seed=1).drop(columns="churned")))

    truth = pd.DataFrame({"prediction": answers["prediction"][:50], "value": 1})
    truth.to_csv(typist.folder / "outcomes.csv", index=False)
    assert typist.json("outcome", "churn", "outcomes.csv")["recorded"] == 50

    found = typist.json("trace", answers["prediction"][7])
    assert found["package"].startswith("sha256:")
    assert found["verdict"]["outcome"] == "pass"
    assert found["outcomes"][0]["value"] == 1
    assert found["datasets"][0]["rows"] == 2000
    assert typist.json("trace", "nothing.0", code=1)["error"] == "app.no_prediction"
