"""SageMaker's and Vertex AI's contracts, held against NVIDIA's own server where `make bench-all` has installed it.

The same requests go to both, and the statuses are compared. Where we answer otherwise on purpose the table says why.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route, until
from packages_for_tests import linear_answers, linear_package

DRIVES = {"sagemaker": "beside Triton's front end", "vertex": "beside Triton's front end"}
pytestmark = [pytest.mark.foreign, pytest.mark.serial]
PEER = Path(__file__).parents[2] / ".venv" / "peers" / "triton"
SITES = sorted(PEER.glob("lib/python3*/site-packages/pytriton/tritonserver"))
STUB = SITES[0] / "backends" / "python" / "triton_python_backend_stub" if SITES else Path()
X = np.array([[1, 2, 3, 4], [0, 0, 0, -1]], np.float32)
CONFIG = """
name: "linear" backend: "python" max_batch_size: 64
input [ { name: "X" data_type: TYPE_FP32 dims: [4] } ]
output [ { name: "label" data_type: TYPE_INT64 dims: [1] }, { name: "probabilities" data_type: TYPE_FP32 dims: [2] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""
V2 = {"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP32", "data": X.tolist()}]}
NO_500 = "a fault of the caller is never a 500"
HEAD = json.dumps(
    {"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": 32}}]}
).encode()
RAW = {"Content-Type": f"application/vnd.sagemaker-triton.binary+json;json-header-size={len(HEAD)}"}


class Asked(NamedTuple):
    """One request, and what we answer where that is another status than Triton's."""

    what: str
    ask: str
    body: object = None
    headers: dict[str, str] | None = None
    ours: int = 0
    because: str = ""


SAGEMAKER = [
    Asked("ping", "GET /ping"),
    Asked("V2", "POST /invocations", V2),
    Asked("V2 under another type", "POST /invocations", V2, {"Content-Type": "application/octet-stream"}),
    Asked("raw tensors", "POST /invocations", HEAD + X.tobytes(), RAW),
    Asked("no JSON", "POST /invocations", b"{", ours=400, because=NO_500),
    Asked("no inputs", "POST /invocations", {}, ours=400, because=NO_500),
    Asked("a wrong name", "POST /invocations", {"inputs": [{**V2["inputs"][0], "name": "Y"}]}),
    Asked(
        "a wrong type",
        "POST /invocations",
        {"inputs": [{**V2["inputs"][0], "datatype": "INT64"}]},
        ours=400,
        because=NO_500,
    ),
    Asked("raw tensors cut off", "POST /invocations", HEAD + X.tobytes()[:-4], RAW),
    Asked("an unknown path", "GET /nothing", ours=404, because="there is no such path"),
]
MANY = [
    Asked("ping", "GET /ping"),
    Asked("nothing there", "GET /models"),
    Asked("one that is not there", "GET /models/a"),
    Asked("asked before it is loaded", "POST /models/a/invoke", V2),
    Asked("loaded", "POST /models", "a"),
    Asked("loaded twice", "POST /models", "a"),
    Asked("it is there", "GET /models/a"),
    Asked("it is listed", "GET /models"),
    Asked("invoked", "POST /models/a/invoke", V2),
    Asked("a folder that is not there", "POST /models", "missing", ours=404, because="what is named is not there"),
    Asked("unloaded", "DELETE /models/a"),
    Asked("unloaded twice", "DELETE /models/a"),
    Asked("asked after it is gone", "POST /models/a/invoke", V2),
    # Last: Triton 2.51 does not outlive it.
    Asked("no JSON", "POST /models", b"{", ours=400, because="a fault of the caller ends no server"),
]
VERTEX = [
    Asked("health", "GET /healthy"),
    Asked("V2", "POST /predict", V2),
    Asked("no JSON", "POST /predict", b"{", ours=400, because=NO_500),
    Asked("a wrong name", "POST /predict", {"inputs": [{**V2["inputs"][0], "name": "Y"}]}),
    Asked("an unknown path", "GET /nothing", ours=404, because="there is no such path"),
]


class Heard(NamedTuple):
    status: int
    body: bytes


def send(port: int, asked: Asked, folders: Path) -> Heard:
    method, _, path = asked.ask.partition(" ")
    body = asked.body
    if isinstance(body, str):
        body = {"model_name": body, "url": str(folders / ("missing" if body == "missing" else "a") / "model")}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(asked.headers or {})}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Heard(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Heard(error.code, error.read())
    except OSError:
        return Heard(0, b"closed without an answer")


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def repository(folder: Path) -> Path:
    """One model as Triton keeps it."""
    (folder / "linear" / "1").mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "triton_linear.py", folder / "linear" / "1" / "model.py")
    (folder / "linear" / "config.pbtxt").write_text(CONFIG)
    return folder


class Triton:
    """NVIDIA's server with both clouds' front ends."""

    def __init__(self, folder: Path, *, many: bool) -> None:
        self.sagemaker, self.vertex, http, grpc = free_ports(4)
        site = SITES[0].parents[1]
        models = folder / "none" if many else repository(folder / "repository")
        models.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{SITES[0] / 'external_libs'}:{SITES[0] / 'lib'}",
            "TRITON_SITE": str(site),
            "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": "linear",
            "SAGEMAKER_MULTI_MODEL": "true" if many else "false",
        }
        vertex = {"AIP_MODE": "PREDICTION", "AIP_HTTP_PORT": str(self.vertex)}
        vertex |= {"AIP_HEALTH_ROUTE": "/healthy", "AIP_PREDICT_ROUTE": "/predict"}
        environment |= {} if many else vertex
        command = [
            str(SITES[0] / "bin" / "tritonserver"),
            f"--model-repository={models}",
            f"--backend-directory={SITES[0] / 'backends'}",
            f"--http-port={http}",
            f"--grpc-port={grpc}",
            "--allow-metrics=false",
            "--allow-sagemaker=true",
            f"--sagemaker-port={self.sagemaker}",
            *(["--model-control-mode=explicit"] if many else []),
            *([] if many else ["--allow-vertex-ai=true", f"--vertex-ai-port={self.vertex}"]),
            "--vertex-ai-default-model=linear",
        ]
        self.log = (folder / "triton.log").open("wb")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def ready(self) -> bool:
        assert self.process.poll() is None, Path(self.log.name).read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.sagemaker}/ping", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
            self.log.close()


@pytest.fixture(scope="module", params=[False, True], ids=["one model", "many models"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    """Triton and us, started for the same, and where each finds its models."""
    if not STUB.is_file():
        pytest.skip("NVIDIA's server is installed by `make bench-all`")
    many = request.param
    theirs, ours = tmp_path_factory.mktemp("triton"), tmp_path_factory.mktemp("penstock")
    triton = Triton(theirs, many=many)
    plane = DataPlane(ours)
    environment = {"SAGEMAKER_MULTI_MODEL": "true"} if many else {"SAGEMAKER_REGION": "eu-west-1"}
    environment |= {"AIP_HEALTH_ROUTE": "/healthy", "AIP_PREDICT_ROUTE": "/predict"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        if many:
            repository(theirs / "a" / "model")
            linear_package(ours / "a" / "model")
            plane.start("--models", str(ours), "--spares", "0", "--allow", "load", workers=1)
        else:
            plane.write(route("linear", plane.add(linear_package, ours / "p")))
            plane.start("--spares", "0", workers=1)
    try:
        until(lambda: plane.ask("GET", "/ping").status == 200)
        until(triton.ready, seconds=90)
        yield many, triton, theirs, plane, ours
    finally:
        plane.stop()
        triton.stop()


def compared(asked: list[Asked], port: int, theirs: Path, plane: DataPlane, ours: Path) -> None:
    """All requests in their order, to both; what they answered has to be the same numbers."""
    differences = []
    for one in asked:
        there, here = send(port, one, theirs), send(plane.port, one, ours)
        wanted = one.ours or there.status
        if here.status != wanted:
            differences.append((one.what, there.status, here.status, here.body[:200], there.body[:200]))
        if one.ours == there.status:
            differences.append((one.what, "Triton answers the same now: the exception can go"))
        if here.status == there.status == 200 and one.body is V2:
            probabilities = [
                np.array(
                    next(out["data"] for out in json.loads(answer.body)["outputs"] if out["name"] == "probabilities")
                )
                for answer in (there, here)
            ]
            np.testing.assert_allclose(*probabilities, atol=1e-6)
            np.testing.assert_allclose(probabilities[1].reshape(2, 2), linear_answers(X)["probabilities"], atol=1e-6)
    assert not differences, "\n".join(map(str, differences))


def test_sagemaker_is_answered_as_by_triton(both: tuple) -> None:
    many, triton, theirs, plane, ours = both
    compared(MANY if many else SAGEMAKER, triton.sagemaker, theirs, plane, ours)


def test_vertex_is_answered_as_by_triton(both: tuple) -> None:
    many, triton, theirs, plane, ours = both
    if many:
        pytest.skip("one model alone")
    compared(VERTEX, triton.vertex, theirs, plane, ours)
