"""Azure ML's inference server runs an exported score.py; azure-ai-ml loads the YAML beside it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exports_for_tests import BIAS, Server, ask, export, free_port, make_home, python_of, variables
from packages_for_tests import linear_answers

PYTHON = python_of("azure")
DRIVES = {"azureml": "Azure ML's inference server"}
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up"),
]
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]
JSON = {"content-type": "application/json"}
LOAD = """
import json, sys
from azure.ai.ml import load_online_deployment, load_online_endpoint
deployment, endpoint = load_online_deployment(sys.argv[1]), load_online_endpoint(sys.argv[2])
print(json.dumps({"deployment": deployment.name, "of": deployment.endpoint_name, "endpoint": endpoint.name,
                  "script": deployment.code_configuration.scoring_script, "auth": endpoint.auth_mode,
                  "count": deployment.instance_count, "model": str(deployment.model.path)}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("azure")
    export(make_home(home / "home"), "azureml", home / "endpoint")
    return home / "endpoint"


def serve(folder: Path, port: int) -> Server:
    command = [str(PYTHON.with_name("azmlinfsrv")), "--entry_script", "score.py", "--port", str(port)]
    command += ["--model_dir", str(folder / "model"), "--worker_count", "1"]
    environment = variables(AML_APP_ROOT=str(folder / "code"))
    return Server(command, f"http://127.0.0.1:{port}", folder=folder / "code", environment=environment)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    server = serve(folder, free_port())
    yield server.url
    server.stop()


@pytest.mark.parametrize(
    "body",
    [
        {"data": ROWS}, {"instances": ROWS}, ROWS, {"input_data": ROWS},
        {"input_data": {"columns": [0, 1, 2, 3], "index": [0, 1], "data": ROWS}},
    ],
    ids=["data", "instances", "alone", "input_data", "a table"],
)  # fmt: skip
def test_scores_rows_of_every_form(url: str, body: object) -> None:
    answer = ask(f"{url}/score", json.dumps(body).encode(), JSON)
    assert answer.status == 200, answer.body
    found = json.loads(answer.body)
    wanted = linear_answers(np.array(ROWS, np.float32), bias=BIAS)
    np.testing.assert_allclose([one["probabilities"] for one in found], wanted["probabilities"], atol=1e-6)
    assert [one["label"] for one in found] == wanted["label"].tolist()


def test_status_and_headers_pass(url: str) -> None:
    answer = ask(f"{url}/score", json.dumps({"data": ROWS}).encode(), JSON | {"x-ms-client-request-id": "mine"})
    assert answer.headers["x-model-version"] == "2"
    assert len(answer.headers["x-prediction-id"]) > 8
    assert answer.headers["x-ms-client-request-id"] == "mine"
    assert answer.headers["x-ms-run-function-failed"] == "False"
    assert answer.headers["content-type"] == "application/json"
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) > 0
    bad = ask(f"{url}/score", b'{"data":[[1,2,"secret",4]]}', JSON)
    assert bad.status == 400
    assert "data[0][2]" in json.loads(bad.body)["message"]
    assert b"secret" not in bad.body
    assert ask(f"{url}/score", b"{", JSON).status == 400, "not the 500 of an exception in the script"
    assert ask(f"{url}/score?data=[[1,2,3,4]]").status == 200
    assert ask(f"{url}/score", method="OPTIONS").status == 200
    assert ask(url).body == b"Healthy"


@pytest.mark.parametrize(("version", "word"), [("2", "swagger"), ("3", "openapi")])
def test_swagger_is_the_signatures(url: str, version: str, word: str) -> None:
    document = json.loads(ask(f"{url}/swagger.json?version={version}").body)
    assert document[word].startswith(version)
    schemas = document["definitions"] if version == "2" else document["components"]["schemas"]
    row = schemas["ServiceInput"]["properties"]["data"]["items"]
    assert row == {"type": "array", "items": {"type": "number", "format": "float"}, "minItems": 4, "maxItems": 4}


def test_a_package_that_is_not_right_does_not_start(tmp_path: Path) -> None:
    export(make_home(tmp_path / "home"), "azureml", tmp_path / "endpoint")
    manifest = tmp_path / "endpoint/model/package/manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(AssertionError, match="the manifest is not that of the package asked for"):
        serve(tmp_path / "endpoint", free_port())


def test_azures_own_schemas_take_the_yaml(folder: Path) -> None:
    def load(deployment: Path) -> subprocess.CompletedProcess[str]:
        command = [str(PYTHON), "-c", LOAD, str(deployment), str(folder / "endpoint.yml")]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=variables())

    done = load(folder / "deployment.yml")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "deployment": "v2", "of": "m-model", "endpoint": "m-model", "script": "score.py", "auth": "key", "count": 1,
        "model": str(folder / "model"),
    }  # fmt: skip
    wrong = folder / "wrong.yml"
    wrong.write_text((folder / "deployment.yml").read_text().replace("instance_count: 1", "instance_count: [x]"))
    assert load(wrong).returncode != 0
