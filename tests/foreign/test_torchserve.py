"""TorchServe itself and Penstock, asked the same at all three APIs: status codes, and names and types of what they say.

Where they differ on purpose, ``torchserve_differences.json`` says what either does and why; anything else is a fault.

    ask, api, headers, body    what is asked, and at which port
    values                     the very answer has to be the same, and not only its form
    theirs, ours, why          status of either; bodies are not compared then
    unlike, why                names of the answer whose form differs
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from archives_for_tests import FUNCTION, archive
from dataplane_for_tests import DataPlane, until

HERE = Path(__file__).parent
BIN = HERE.parents[1] / ".venv" / "peers" / "torchserve" / "bin"
DIFFERENCES = json.loads((HERE / "torchserve_differences.json").read_text())
DRIVES = {"torchserve": "beside TorchServe itself"}
pytestmark = [
    pytest.mark.foreign,
    # Each request meets what those before it have left behind.
    pytest.mark.serial,
    pytest.mark.skipif(not (BIN / "torchserve").exists(), reason="`make bench-all` sets TorchServe's environment up"),
    pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java: apt-get install openjdk-17-jre"),
]
FIELDS = """
def text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else value
def handle(data, context):
    if data is None:
        return None
    if data[0].get("body") == "raise":
        raise ValueError("no")
    if data[0].get("body") == "short":
        return []
    return [{name: text(value) for name, value in one.items()} for one in data]
"""
MODELS = {"echo": FUNCTION, "fields": FIELDS}
PROPERTIES = """
inference_address=http://127.0.0.1:{inference}
management_address=http://127.0.0.1:{management}
metrics_address=http://127.0.0.1:{metrics}
grpc_inference_port={grpc1}
grpc_management_port={grpc2}
default_workers_per_model=1
metrics_mode=prometheus
"""
APIS = ("inference", "management", "metrics")


class Said(NamedTuple):
    status: int
    body: bytes
    type: str

    @property
    def value(self) -> object:
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body


class Server(NamedTuple):
    """Either of the two.

    Attributes:
        ports: By API.
        keys: The file with its keys, where it asks for them.
    """

    ports: dict[str, int]
    keys: Path

    def ask(self, case: dict) -> Said:
        method, _, path = case["ask"].partition(" ")
        headers = dict(case.get("headers", {}))
        if case.get("key"):
            known = json.loads(self.keys.read_bytes())
            headers["Authorization"] = "Bearer " + known.get(case["key"], {"key": case["key"]})["key"]
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[case["api"]], timeout=60)
        try:
            connection.request(method, path, case.get("body", "").encode() or None, headers)
            answer = connection.getresponse()
            return Said(answer.status, answer.read(), answer.getheader("content-type") or "")
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def store(folder: Path, *names: str) -> Path:
    for name in names:
        archive(folder / f"{name}.mar", MODELS[name], name=name)
    return folder


def their_server(home: Path, models: Path, *options: str) -> Iterator[Server]:
    ports = dict(zip((*APIS, "grpc1", "grpc2"), free_ports(5), strict=True))
    home.mkdir()
    (home / "config.properties").write_text(PROPERTIES.format(**ports))
    command = [str(BIN / "torchserve"), "--start", "--foreground", "--ncs", "--model-store", str(models)]
    names = [one.stem for one in sorted(models.glob("*.mar"))]
    command += ["--models", *(f"{name}={name}.mar" for name in names)]
    command += ["--ts-config", str(home / "config.properties"), *options]
    places = {"TMPDIR": str(home), "LOG_LOCATION": str(home), "METRICS_LOCATION": str(home)}
    environment = {**os.environ, **places, "PATH": f"{BIN}:{os.environ['PATH']}"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log, start_new_session=True)
        server = Server(ports, home / "key_file.json")
        try:
            for name in names:
                until(lambda: loaded(server, name), seconds=240)  # noqa: B023
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def loaded(server: Server, name: str) -> bool:
    try:
        key = "management" if server.keys.exists() else ""
        said = server.ask({"ask": f"GET /models/{name}", "api": "management", "key": key}).value
    except (OSError, ValueError):  # its key file is not written in one step
        time.sleep(0.2)
        return False
    return isinstance(said, list) and [one["status"] for one in said[0]["workers"]] == ["READY"]


def our_server(home: Path, models: Path, *options: str) -> Iterator[Server]:
    ports = free_ports(2)
    home.mkdir()
    plane = DataPlane(home)
    more = ",".join(map(str, ports))
    plane.start("--models", str(models), "--more-ports", more, "--spares", "0", *options, workers=1)
    until(lambda: len(plane.statuses()) == 1)
    server = Server(dict(zip(APIS, (plane.port, *ports), strict=True)), plane.run / "key_file.json")
    try:
        for one in sorted(models.glob("*.mar")):
            key = "management" if server.keys.exists() else ""
            said = server.ask({"ask": f"POST /models?url={one.name}", "api": "management", "key": key})
            assert said.status == 200, said.body
        yield server
    finally:
        plane.stop()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    home = tmp_path_factory.mktemp("both")
    models = store(home / "models", "echo", "fields")
    for theirs in their_server(home / "theirs", models, "--disable-token-auth", "--enable-model-api"):
        for ours in our_server(home / "ours", models, "--allow", "load"):
            yield theirs, ours


@pytest.fixture(scope="module")
def both_keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    home = tmp_path_factory.mktemp("keyed")
    models = store(home / "models", "echo")
    for theirs in their_server(home / "theirs", models):
        for ours in our_server(home / "ours", models, "--torchserve-keys"):
            yield theirs, ours


def form_of(value: object, unlike: tuple[str, ...] = ()) -> object:
    """Names and kinds, without what was said."""
    if isinstance(value, dict):
        return {name: form_of(one) for name, one in sorted(value.items()) if name not in unlike}
    if isinstance(value, list):
        return [form_of(one, unlike) for one in value[:1]]
    if isinstance(value, bool) or value is None:
        return value is not None and "truth"
    return "number" if isinstance(value, int | float) else type(value).__name__


def compare(case: dict, theirs: Said, ours: Said) -> None:
    assert b"Traceback" not in ours.body
    if "theirs" in case:
        assert case["why"]
        assert (theirs.status, ours.status) == (int(case["theirs"]), int(case["ours"])), (theirs, ours)
        return
    assert theirs.status == ours.status, (theirs, ours)
    if case["api"] == "metrics":
        assert theirs.type == ours.type
        wanted = "ts_inference_requests_total{model_name="
        assert wanted in theirs.body.decode()
        assert wanted in ours.body.decode()
        return
    if case.get("values"):
        assert theirs.value == ours.value
        return
    unlike = tuple(case.get("unlike", ()))
    assert form_of(theirs.value, unlike) == form_of(ours.value, unlike), (theirs, ours)
    if theirs.status >= 400 and "type" not in unlike:
        assert isinstance(theirs.value, dict)
        assert isinstance(ours.value, dict)
        assert (theirs.value["code"], theirs.value["type"]) == (ours.value["code"], ours.value["type"])


@pytest.mark.parametrize("case", DIFFERENCES["cases"], ids=lambda case: case["what"])
def test_says_the_same(both: tuple[Server, Server], case: dict) -> None:
    theirs, ours = both
    compare(case, theirs.ask(case), ours.ask(case))


@pytest.mark.parametrize("case", DIFFERENCES["keys"], ids=lambda case: case["what"])
def test_takes_the_same_keys(both_keyed: tuple[Server, Server], case: dict) -> None:
    theirs, ours = both_keyed
    case = {"body": "x" if "predictions" in case["ask"] else "", "headers": {"Content-Type": "text/plain"}, **case}
    compare(case, theirs.ask(case), ours.ask(case))


def test_every_difference_has_a_reason() -> None:
    for case in (*DIFFERENCES["cases"], *DIFFERENCES["keys"]):
        assert ("theirs" in case or "unlike" in case) == bool(case.get("why")), case["what"]
