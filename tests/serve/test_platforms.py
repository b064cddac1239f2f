"""A platform's environment says what is served, where, and that its front has asked for who it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataplane_for_tests import until
from packages_for_tests import linear_answers, linear_package
from penstock.errors import BadConfig
from penstock.serve.platforms import Hosting, hosting

ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]
LABELS = linear_answers(ROWS)["label"].tolist()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"PORT": "80", "HOME": "/root"}, None),
        ({"SAGEMAKER_BIND_TO_PORT": "9000"}, Hosting("SageMaker", 9000, package="/m/opt/ml/model")),
        ({"SAGEMAKER_REGION": "eu-west-1"}, Hosting("SageMaker", 8080, package="/m/opt/ml/model")),
        ({"SM_MODEL_DIR": "/elsewhere"}, Hosting("SageMaker", 8080, package="/elsewhere")),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, Hosting("SageMaker", 8080, models="/m/opt/ml/models")),
        ({"SAGEMAKER_MULTI_MODEL": "false"}, Hosting("SageMaker", 8080, package="/m/opt/ml/model")),
        ({"AIP_HTTP_PORT": "7080", "AIP_STORAGE_URI": "/mnt/m"}, Hosting("Vertex AI", 7080, package="/mnt/m")),
        ({"AIP_STORAGE_URI": "file:///mnt/m"}, Hosting("Vertex AI", 8080, package="/mnt/m")),
        ({"AIP_HTTP_PORT": "8080"}, Hosting("Vertex AI", 8080)),
        ({"K_SERVICE": "m", "PORT": "9090"}, Hosting("Cloud Run", 9090, knows=False)),
        ({"AZUREML_MODEL_DIR": "/m/none"}, Hosting("Azure ML", 5001, package="/m/none")),
    ],
)
def test_what_an_environment_says(environment: dict[str, str], wanted: Hosting | None) -> None:
    assert hosting(environment, Path("/m")) == wanted


@pytest.mark.parametrize(
    "environment",
    [
        {"SAGEMAKER_BIND_TO_PORT": "http"},
        {"K_SERVICE": "m", "PORT": "http"},
        {"AIP_HTTP_PORT": "70000"},
        {"AIP_HTTP_PORT": "-1"},
        {"AIP_STORAGE_URI": "gs://bucket/model"},
    ],
)
def test_what_cannot_be_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(BadConfig):
        hosting(environment, Path("/m"))


def test_a_notebook_of_sagemaker_that_names_a_package_is_no_container() -> None:
    assert hosting({"SAGEMAKER_REGION": "eu-west-1"}, Path("/m"), given=True) is None
    given = hosting({"AIP_HTTP_PORT": "7080", "AIP_STORAGE_URI": "gs://bucket/model"}, Path("/m"), given=True)
    assert given == Hosting("Vertex AI", 7080)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(*words: str, **environment: str) -> Iterator[str]:
    """What it says first; ended as a platform ends it."""
    own = {**os.environ, **environment}
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=own)
    try:
        assert process.stdout is not None
        yield process.stdout.readline()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def ask(port: int, path: str, body: object = None) -> tuple[int, dict]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, {}


@pytest.mark.parametrize("words", [("-m", "penstock", "serve"), ("-m", "penstock.serve", "serve")])
def test_sagemaker_starts_an_image_with_serve_and_nothing_else(tmp_path: Path, words: tuple[str, ...]) -> None:
    linear_package(tmp_path / "model")
    port = free_port()
    with started(*words, SM_MODEL_DIR=str(tmp_path / "model"), SAGEMAKER_BIND_TO_PORT=str(port)) as said:
        assert said.startswith(f"serving on http://0.0.0.0:{port} behind SageMaker")
        statuses: list[int] = []

        def healthy() -> bool:
            statuses.append(ask(port, "/ping")[0])
            return statuses[-1] == 200

        until(healthy)
        assert set(statuses) <= {0, 503, 200}
        status, answer = ask(port, "/invocations", ROWS)
        assert (status, [row["label"] for row in answer["predictions"]]) == (200, LABELS)
        assert ask(port, "/execution-parameters")[1]["BatchStrategy"] == "MULTI_RECORD"
        region = {"key": "/penstock-none", "byte_size": 8}
        assert ask(port, "/v2/systemsharedmemory/region/r/register", region)[0] == 403, "not on this machine"


def test_sagemaker_loads_many_models(tmp_path: Path) -> None:
    linear_package(tmp_path / "models" / "0a1b" / "model")
    port = free_port()
    many = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODELS_DIR": str(tmp_path / "models")}
    with started("-m", "penstock", "serve", SAGEMAKER_BIND_TO_PORT=str(port), **many):
        until(lambda: ask(port, "/ping")[0] == 200)
        wanted = {"model_name": "0a1b", "url": str(tmp_path / "models" / "0a1b" / "model")}
        assert ask(port, "/models", wanted)[0] == 200
        status, answer = ask(port, "/models/0a1b/invoke", {"instances": ROWS})
        assert (status, [row["label"] for row in answer["predictions"]]) == (200, LABELS)


def test_vertex_names_port_and_routes(tmp_path: Path) -> None:
    linear_package(tmp_path / "artifacts")
    port = free_port()
    environment = {
        "AIP_HTTP_PORT": str(port),
        "AIP_STORAGE_URI": str(tmp_path / "artifacts"),
        "AIP_HEALTH_ROUTE": "/v1/models/m",
        "AIP_PREDICT_ROUTE": "/v1/models/m:predict",
    }
    with started("-m", "penstock", "serve", **environment) as said:
        assert f"0.0.0.0:{port} behind Vertex AI" in said
        until(lambda: ask(port, "/v1/models/m")[0] == 200)
        status, answer = ask(port, "/v1/models/m:predict", {"instances": ROWS, "parameters": {"outputs": "label"}})
        assert (status, answer) == (200, {"predictions": LABELS})


def test_cloud_run_names_the_port(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    port = free_port()
    words = ("-m", "penstock", "serve", str(tmp_path / "linear"), "--behind", "platform")
    with started(*words, K_SERVICE="m", K_REVISION="m-1", PORT=str(port)) as said:
        assert f"0.0.0.0:{port} behind Cloud Run" in said
        until(lambda: ask(port, "/v2/health/ready")[0] == 200)
        assert ask(port, "/v1/models/linear:predict", {"instances": ROWS})[0] == 200


def test_knative_looks_like_cloud_run_and_lets_everybody_through(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    port = free_port()
    words = ("-m", "penstock.serve", "--package", str(tmp_path / "linear"))
    own = {**os.environ, "K_SERVICE": "m", "PORT": str(port)}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=own, timeout=60)
    assert done.returncode == 1
    assert "nobody says who may ask" in done.stderr
    (tmp_path / "token").write_text("pst_known")
    with started(*words, "--token-file", str(tmp_path / "token"), K_SERVICE="m", PORT=str(port)) as said:
        assert said.strip() == f"serving on http://0.0.0.0:{port}"
        until(lambda: ask(port, "/v2/health/ready")[0] == 200)
        assert ask(port, "/v1/models/linear:predict", {"instances": ROWS})[0] == 401


def test_azure_ml_names_the_folder_above_the_package(tmp_path: Path) -> None:
    linear_package(tmp_path / "1" / "model" / "package")
    port = free_port()
    words = ("-m", "penstock", "serve", "--port", str(port))
    with started(*words, AZUREML_MODEL_DIR=str(tmp_path / "1")) as said:
        assert f"0.0.0.0:{port} behind Azure ML" in said
        until(lambda: ask(port, "/v2/health/ready")[0] == 200)
        status, answer = ask(port, "/score", {"data": ROWS})
        assert (status, [row["label"] for row in answer]) == (200, LABELS)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as health:
            assert health.read() == b"Healthy"


def test_nothing_to_serve_is_said(tmp_path: Path) -> None:
    for environment, said in (({}, "nothing to serve"), ({"SM_MODEL_DIR": str(tmp_path)}, "no package")):
        done = subprocess.run(
            [sys.executable, "-m", "penstock", "serve"],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=60,
        )
        assert done.returncode == 1
        assert said in done.stderr
