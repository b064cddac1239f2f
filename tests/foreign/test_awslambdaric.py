"""AWS's own runtime client runs an exported function, against a Runtime API of this test."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import numpy as np
import pytest

from exports_for_tests import BIAS, export, make_home, python_of, variables
from packages_for_tests import linear_answers

pytestmark = pytest.mark.foreign
PYTHON = python_of("functions")
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]
BODY = json.dumps({"instances": ROWS})
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


@pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up")
def test_events_of_every_kind_one_after_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "function"
    export(make_home(tmp_path / "home"), "lambda", folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    expected = linear_answers(np.array(ROWS, np.float32), bias=BIAS)
    encoded = base64.b64encode(BODY.encode()).decode()
    api = RuntimeApi()
    process = start(folder, api, tmp_path / "tmp")
    asked = 0

    def invoke(event: object, **more: int) -> dict:
        nonlocal asked
        asked += 1
        told = api.invoke(event, **more)
        assert told.path == f"/2018-06-01/runtime/invocation/request-{asked}/response", told
        return told.body

    def failed(event: object) -> dict:
        nonlocal asked
        asked += 1
        told = api.invoke(event)
        assert told.path == f"/2018-06-01/runtime/invocation/request-{asked}/error", told
        return told.body

    def right(answer: dict, text: str) -> None:
        found = json.loads(text)["predictions"]
        assert [one["label"] for one in found] == expected["label"].tolist()
        np.testing.assert_allclose([one["probabilities"] for one in found], expected["probabilities"], atol=1e-6)
        assert answer.get("statusCode", 200) == 200

    try:
        for event in (
            rest(), rest(body=encoded, isBase64Encoded=True), http(), http(body=encoded, isBase64Encoded=True),
            http("/live/v1/models/m:predict") | {"requestContext": {"http": {"method": "POST"}, "stage": "live"}},
            balancer(), balancer() | {"multiValueHeaders": {"content-type": ["application/json"]}},
        ):  # fmt: skip
            answer = invoke(event)
            right(answer, answer["body"])
            many = "multiValueHeaders" in answer
            headers = answer["multiValueHeaders" if many else "headers"]
            assert headers["x-request-id"] in (f"request-{asked}", [f"request-{asked}"])
            assert headers["x-model-version"] in ("2", ["2"])
        assert many, "a load balancer that sends lists of values is answered with lists"
        assert answer["statusDescription"] == "200 OK"

        assert invoke(http("/v2/health/ready", "GET", body=None))["statusCode"] == 200
        assert "penstock_requests_total" in invoke(http("/metrics", "GET", body=None))["body"]
        assert invoke(rest(path="/v1/models/other:predict"))["statusCode"] == 404
        assert "instances" in invoke(rest(body="{}"))["body"]
        head = json.dumps({"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP32",
                                       "parameters": {"binary_data_size": 32}}],
                           "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}).encode()  # fmt: skip
        answer = invoke(http(
            "/v2/models/m/infer", body=base64.b64encode(head + np.array(ROWS, np.float32).tobytes()).decode(),
            isBase64Encoded=True, headers={"inference-header-content-length": str(len(head))},
        ))  # fmt: skip
        assert answer["isBase64Encoded"]
        raw = base64.b64decode(answer["body"])[int(answer["headers"]["inference-header-content-length"]) :]
        assert np.frombuffer(raw, np.int64).tolist() == expected["label"].tolist()

        right({}, json.dumps(invoke({"instances": ROWS})))
        tensor = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": ROWS}
        outputs = {one["name"]: one["data"] for one in invoke({"inputs": [tensor]})["outputs"]}
        assert outputs["label"] == expected["label"].tolist()

        error = failed({"instances": [[1, 2, "secret", 4]]})
        assert "instances[0][2]" in error["errorMessage"]
        assert "secret" not in json.dumps(error)
        failed(b'"no rows"')
        failed(b"{")

        queue = [{"messageId": name, "eventSource": "aws:sqs", "body": body}
                 for name, body in (("good", BODY), ("bad", "{}"), ("worse", ""))]  # fmt: skip
        assert invoke({"Records": queue}) == {
            "batchItemFailures": [{"itemIdentifier": "bad"}, {"itemIdentifier": "worse"}]
        }
        stream = [{"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": "7", "data": encoded}}]
        assert invoke({"Records": stream}) == {"batchItemFailures": []}
        kafka = {"eventSource": "aws:kafka", "records": {"t-0": [{"offset": 3, "value": encoded},
                                                                   {"offset": 4, "value": "%"}]}}  # fmt: skip
        assert invoke(kafka) == {"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 4}}]}
        topic = [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]
        assert "instances" in failed({"Records": topic})["errorMessage"]

        assert invoke(http(), left_ms=1)["statusCode"] == 504
        answer = invoke(rest())
        right(answer, answer["body"])
        assert asked >= 20
    finally:
        process.terminate()
        said = process.communicate(timeout=20)[0]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "it wrote beside its code"
    assert said.count('"predictions"') == 3, "answers to batches are printed, and no others"


@pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up")
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
