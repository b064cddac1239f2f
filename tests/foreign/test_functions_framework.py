"""Google's Functions Framework runs an exported function, over HTTP and for CloudEvents."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from exports_for_tests import BIAS, Server, ask, export, free_port, make_home, python_of, variables
from packages_for_tests import linear_answers

DRIVES = {"v1": "Google's functions-framework"}
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not python_of("functions").exists(), reason="make test sets its environment up"),
]
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]
BODY = json.dumps({"instances": ROWS}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("google")
    export(make_home(home / "home"), "google-function", home / "function")
    return home / "function"


def serve(folder: Path, target: str, **more: str) -> Server:
    port = free_port()
    command = [str(python_of("functions").with_name("functions-framework")), "--source", "main.py", "--target", target]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    return Server(command, f"http://127.0.0.1:{port}", folder=folder, environment=variables(**more))


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[str]:
    server = serve(folder, "predict", WORKERS="2", THREADS="4")
    yield server.url
    server.stop()


def test_http_answers_as_the_server_does(http: str) -> None:
    answer = ask(f"{http}/v1/models/m:predict", BODY, {"content-type": "application/json"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-model-version"] == "2"
    found = json.loads(answer.body)["predictions"]
    wanted = linear_answers(np.array(ROWS, np.float32), bias=BIAS)
    np.testing.assert_allclose([one["probabilities"] for one in found], wanted["probabilities"], atol=1e-6)
    assert ask(f"{http}/v2/health/ready").status == 200
    assert ask(f"{http}/v2/models/m", method="HEAD").body == b""
    assert ask(f"{http}/v1/models/other:predict", BODY).status == 404
    assert ask(f"{http}/v1/models/m:predict", b"{}").status == 400
    assert ask(f"{http}/swagger.json?version=3").body.startswith(b'{"openapi":"3.0.3"')


def test_many_at_once_in_forked_processes_with_ids_of_their_own(http: str) -> None:
    def one(_: int) -> str:
        answer = ask(f"{http}/v1/models/m:predict", BODY)
        assert answer.status == 200, answer.body
        return answer.headers["x-prediction-id"]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(one, range(120)))
    assert len(set(ids)) == len(ids)


def test_events_are_answered_on_standard_output_or_fail(folder: Path) -> None:
    server = serve(folder, "predict_event")
    headers = {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "test", "ce-type": "rows",
        "content-type": "application/json",
    }  # fmt: skip
    try:
        assert ask(server.url, BODY, headers).body == b"OK"
        message = {"message": {"data": base64.b64encode(BODY).decode(), "messageId": "7"}, "subscription": "s"}
        published = headers | {"ce-type": "google.cloud.pubsub.topic.v1.messagePublished"}
        assert ask(server.url, json.dumps(message).encode(), published).body == b"OK"
        whole = {"specversion": "1.0", "id": "2", "source": "test", "type": "rows", "data": {"instances": ROWS}}
        structured = {"content-type": "application/cloudevents+json"}
        assert ask(server.url, json.dumps(whole).encode(), structured).body == b"OK"
        bad = ask(server.url, b'{"instances":[[1,2,"secret",4]]}', headers)
        assert (bad.status, bad.headers["x-google-status"]) == (500, "crash")
        assert b"secret" not in bad.body
        assert ask(server.url, b'{"no":"event"}', {"content-type": "application/json"}).status == 400
        assert ask(server.url, BODY, headers).status == 200
    finally:
        said = server.stop()
    assert said.count('"predictions"') == 4


def test_a_package_that_is_not_right_does_not_start(tmp_path: Path, folder: Path) -> None:
    environment = variables(PENSTOCK_PACKAGE=str(tmp_path))
    port = str(free_port())
    command = [str(python_of("functions").with_name("functions-framework")), "--target", "predict", "--port", port]
    with pytest.raises(AssertionError, match="there is no package beside the function"):
        Server(command, f"http://127.0.0.1:{port}", folder=folder, environment=environment)
