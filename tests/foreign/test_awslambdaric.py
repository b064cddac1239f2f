"""AWS's own runtime client runs an exported function, against a Runtime API of this test."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import numpy as np
import pytest

from exports_for_tests import BIAS, export, make_home, python_of, variables
from packages_for_tests import linear_answers

PYTHON = python_of("functions")
DRIVES = {"v1": "AWS's Lambda runtime client"}
pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up"),
]
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]
BODY = json.dumps({"instances": ROWS})
ENCODED = base64.b64encode(BODY.encode()).decode()
EXPECTED = linear_answers(np.array(ROWS, np.float32), bias=BIAS)
NEXT = "/2018-06-01/runtime/invocation/next"


class Told(NamedTuple):
    """What the runtime posted."""

    path: str
    headers: dict[str, str]
    body: dict


class RuntimeApi:
    """The part of the Runtime API that a runtime needs: next, response, error, init/error."""

    def __init__(self) -> None:
        self.events: Queue[tuple[bytes, int]] = Queue()
        self.told: Queue[Told] = Queue()
        self.asked = 0
        api = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                assert self.path == NEXT
                body, left_ms = api.events.get()
                api.asked += 1
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", f"request-{api.asked}")
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1e3) + left_ms))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:m")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                api.told.put(Told(self.path, headers, json.loads(body)))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def invoke(self, event: object, *, left_ms: int = 20_000) -> Told:
        self.events.put((event if isinstance(event, bytes) else json.dumps(event).encode(), left_ms))
        return self.told.get(timeout=30)


def start(folder: Path, api: RuntimeApi, scratch: Path, **more: str) -> subprocess.Popen[str]:
    scratch.mkdir(exist_ok=True)
    environment = variables(
        AWS_LAMBDA_RUNTIME_API=api.address, LAMBDA_TASK_ROOT=str(folder), TMPDIR=str(scratch),
        PYTHONDONTWRITEBYTECODE="1", **more,
    )  # fmt: skip
    return subprocess.Popen(
        [str(PYTHON), "-m", "awslambdaric", "lambda_function.handler"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def rest(**more: object) -> dict:
    return {
        "resource": "/{proxy+}", "path": "/v1/models/m:predict", "httpMethod": "POST", "isBase64Encoded": False,
        "headers": {"Content-Type": "application/json"}, "multiValueHeaders": {"Content-Type": ["application/json"]},
        "queryStringParameters": None, "requestContext": {"stage": "prod"}, "body": BODY, **more,
    }  # fmt: skip


def http(path: str = "/v1/models/m:predict", method: str = "POST", **more: object) -> dict:
    context = {"http": {"method": method, "path": path}, "stage": "$default"}
    return {
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {"content-type": "application/json"},
        "requestContext": context, "body": BODY, "isBase64Encoded": False, **more,
    }  # fmt: skip


def balancer(**more: object) -> dict:
    target = {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/m/1"}}
    return rest(requestContext=target, **more) | {"multiValueHeaders": None}


class Function:
    """An exported function under the runtime client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "function"
        export(make_home(folder / "home"), "lambda", self.folder)
        self.before = self.files()
        self.api = RuntimeApi()
        self.process = start(self.folder, self.api, folder / "tmp")
        self.asked = 0
        self.said = ""

    def files(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}

    def invoke(self, event: object, *, left_ms: int = 20_000) -> dict:
        return self._told("response", self.api.invoke(event, left_ms=left_ms))

    def failed(self, event: object) -> dict:
        return self._told("error", self.api.invoke(event))

    def _told(self, how: str, told: Told) -> dict:
        self.asked += 1
        assert told.path == f"/2018-06-01/runtime/invocation/request-{self.asked}/{how}", told
        return told.body

    def stop(self) -> None:
        self.process.terminate()
        self.said = self.process.communicate(timeout=20)[0]


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    started = Function(tmp_path_factory.mktemp("lambda"))
    yield started
    started.stop()
    assert started.files() == started.before, "it wrote beside its code"
    assert started.said.count('"predictions"') == 3, "answers to batches are printed, and no others"


def right(text: str) -> None:
    found = json.loads(text)["predictions"]
    assert [one["label"] for one in found] == EXPECTED["label"].tolist()
    np.testing.assert_allclose([one["probabilities"] for one in found], EXPECTED["probabilities"], atol=1e-6)


@pytest.mark.parametrize("event", [
    rest(), rest(body=ENCODED, isBase64Encoded=True), http(), http(body=ENCODED, isBase64Encoded=True),
    http("/live/v1/models/m:predict") | {"requestContext": {"http": {"method": "POST"}, "stage": "live"}},
    balancer(), balancer() | {"multiValueHeaders": {"content-type": ["application/json"]}},
], ids=["REST", "REST in base64", "HTTP", "HTTP in base64", "a stage", "balancer", "balancer with lists"])  # fmt: skip
def test_http_of_every_kind_in_its_own_form(function: Function, event: dict) -> None:
    answer = function.invoke(event)
    right(answer["body"])
    assert answer["statusCode"] == 200
    lists = bool(event.get("multiValueHeaders")) and "elb" in event["requestContext"]
    assert ("multiValueHeaders" in answer, "headers" in answer) == (lists, not lists)
    headers = answer["multiValueHeaders" if lists else "headers"]
    for name, value in {"x-request-id": f"request-{function.asked}", "x-model-version": "2"}.items():
        assert headers[name] == ([value] if lists else value)
    assert answer.get("statusDescription") == ("200 OK" if "elb" in event["requestContext"] else None)


def test_every_path_of_the_server(function: Function) -> None:
    assert function.invoke(http("/v2/health/ready", "GET", body=None))["statusCode"] == 200
    assert "penstock_requests_total" in function.invoke(http("/metrics", "GET", body=None))["body"]
    assert function.invoke(rest(path="/v1/models/other:predict"))["statusCode"] == 404
    refused = function.invoke(rest(body="{}"))
    assert (refused["statusCode"], "instances" in refused["body"]) == (400, True)
    swagger = function.invoke(http("/swagger.json", "GET", rawQueryString="version=3", body=None))
    assert '"openapi"' in swagger["body"]
    assert '"openapi"' in function.invoke(
        rest(path="/swagger.json", httpMethod="GET", queryStringParameters={"version": "3"}, body=None)
    )["body"]  # fmt: skip


def test_binary_in_and_out(function: Function) -> None:
    wanted = {"name": "label", "parameters": {"binary_data": True}}
    tensor = {"name": "X", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": 32}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    body = base64.b64encode(head + np.array(ROWS, np.float32).tobytes()).decode()
    headers = {"inference-header-content-length": str(len(head))}
    answer = function.invoke(http("/v2/models/m/infer", body=body, isBase64Encoded=True, headers=headers))
    assert answer["isBase64Encoded"]
    raw = base64.b64decode(answer["body"])[int(answer["headers"]["inference-header-content-length"]) :]
    assert np.frombuffer(raw, np.int64).tolist() == EXPECTED["label"].tolist()


def test_a_payload_is_the_body(function: Function) -> None:
    right(json.dumps(function.invoke({"instances": ROWS})))
    tensor = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
    outputs = {one["name"]: one["data"] for one in function.invoke({"inputs": [tensor]})["outputs"]}
    assert outputs["label"] == EXPECTED["label"].tolist()


def test_a_bad_event_fails_and_the_runtime_goes_on(function: Function) -> None:
    error = function.failed({"instances": [[1, 2, "secret", 4]]})
    assert "instances[0][2]" in error["errorMessage"]
    assert "secret" not in json.dumps(error)
    function.failed(b'"no rows"')
    function.failed(b"{")
    right(function.invoke(rest())["body"])


def test_batches_name_what_was_not_answered(function: Function) -> None:
    queue = [
        {"messageId": name, "eventSource": "aws:sqs", "body": body}
        for name, body in (("good", BODY), ("bad", "{}"), ("worse", ""))
    ]
    assert function.invoke({"Records": queue}) == {
        "batchItemFailures": [{"itemIdentifier": "bad"}, {"itemIdentifier": "worse"}]
    }
    stream = [{"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": "7", "data": ENCODED}}]
    assert function.invoke({"Records": stream}) == {"batchItemFailures": []}
    records = [{"offset": 3, "value": ENCODED}, {"offset": 4, "value": "%"}]
    lost = {"itemIdentifier": {"partition": "t-0", "offset": 4}}
    assert function.invoke({"eventSource": "aws:kafka", "records": {"t-0": records}}) == {"batchItemFailures": [lost]}
    topic = [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]
    assert "instances" in function.failed({"Records": topic})["errorMessage"]


def test_nobody_is_answered_when_the_time_is_over(function: Function) -> None:
    assert function.invoke(http(), left_ms=1)["statusCode"] == 504
    assert function.invoke(http())["statusCode"] == 200


@pytest.mark.parametrize("spoiled", ["a byte of the model", "no package"])
def test_a_package_that_is_not_right_fails_the_initialization(tmp_path: Path, spoiled: str) -> None:
    folder = tmp_path / "function"
    export(make_home(tmp_path / "home"), "lambda", folder)
    if spoiled == "no package":
        shutil.rmtree(folder / "package")
    else:
        model = folder / "package/model/model.onnx"
        data = bytearray(model.read_bytes())
        data[len(data) // 2] ^= 1
        model.write_bytes(data)
    api = RuntimeApi()
    process = start(folder, api, tmp_path / "tmp")
    try:
        told = api.told.get(timeout=30)
        assert told.path == "/2018-06-01/runtime/init/error"
        assert told.body["errorType"] == ("BadConfig" if spoiled == "no package" else "Untrusted")
        assert process.wait(20) == 1
    finally:
        process.kill()
        process.communicate()
