"""MLflow's own scoring server and ours, asked the same: where they differ the table says why."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dataplane_for_tests import DataPlane, route, until
from packages_for_tests import flights_like

DRIVES = {"mlflow": "beside MLflow's own server"}
pytestmark = pytest.mark.foreign
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "mlflow" / "bin" / "python"
SERVER = Path(__file__).parent / "mlflow_server.py"
PORT = 18471
JSON = "application/json"
SPLIT = {"columns": ["distance", "carrier", "delay"], "data": [[100.0, "UA", None], [900.0, "B6", 0.5]]}
RECORDS = [{"distance": 100.0, "carrier": "UA", "delay": 0.1}, {"distance": 900.0, "carrier": "B6", "delay": 0.5}]
CSV = "distance,carrier,delay\n100,UA,\n900,B6,0.5\n"


class Case(NamedTuple):
    """A request, and our status where it is another one than MLflow's."""

    what: str
    kind: str
    body: object
    ours: int = 0
    because: str = ""


CASES = [
    Case("a frame, split", JSON, {"dataframe_split": SPLIT}),
    Case("with a character set", f"{JSON}; charset=utf-8", {"dataframe_split": SPLIT}),
    Case("with another", f"{JSON}; charset=latin-1", {"dataframe_split": SPLIT}),
    Case("records", JSON, {"dataframe_records": RECORDS}),
    Case("whole numbers", JSON, {"dataframe_records": [{"distance": 100, "carrier": "UA", "delay": 1}]}),
    Case("columns in another order, one too many", JSON, {"dataframe_records": [{"more": 1, **RECORDS[1]}]}),
    Case("inputs by name", JSON, {"inputs": {"distance": [100.0], "carrier": ["UA"], "delay": [0.5]}}),
    Case("instances by name", JSON, {"instances": RECORDS}),
    Case("a column missing", JSON, {"dataframe_records": [{"distance": 1.0, "delay": 1.0}]}),
    Case("an optional column missing", JSON, {"dataframe_records": [{"distance": 1.0, "carrier": "UA"}]}),
    Case("a text in a number", JSON, {"dataframe_records": [{**RECORDS[0], "distance": "far"}]}),
    Case("a number in a text", JSON, {"dataframe_records": [{**RECORDS[0], "carrier": 3}]}, 400, "it is no text"),
    Case("a list for named columns", JSON, {"inputs": [[100.0, "UA", 0.5]]}),
    Case("a list", JSON, [[100.0, "UA", 0.5]]),
    Case("no form", JSON, {}),
    Case("two forms", JSON, {"dataframe_split": SPLIT, "dataframe_records": RECORDS}),
    Case("a form that is gone", JSON, SPLIT),
    Case("parameters that are none", JSON, {"dataframe_split": SPLIT, "params": {}}),
    Case(
        "a parameter nobody declared",
        JSON,
        {"dataframe_split": SPLIT, "params": {"heat": 1}},
        400,
        "it would be ignored",
    ),
    Case("a half", JSON, "{"),
    Case("no body", JSON, ""),
    Case("a text", JSON, '"x"'),
    Case("CSV", "text/csv", CSV),
    Case("CSV with a character set", "text/csv; charset=utf-8", CSV),
    Case("CSV without a column", "text/csv", "distance,delay\n100,0.5\n"),
    Case("CSV with a text in a number", "text/csv", "distance,carrier,delay\nfar,UA,0.5\n"),
    Case("CSV without a header", "text/csv", "100,UA,\n900,B6,0.5\n", ours=200, because="names are told from values"),
    Case("XML", "application/xml", "<x/>"),
    Case("no type", "", "x"),
]


class Heard(NamedTuple):
    status: int
    body: bytes


def send(port: int, kind: str, body: object, path: str = "/invocations") -> Heard:
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": kind} if kind else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Heard(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        return Heard(error.code, error.read())
    except OSError:
        return Heard(0, b"")


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """MLflow's and ours."""
    if not PYTHON.exists():
        pytest.skip("make test sets its environment up")
    home = tmp_path_factory.mktemp("mlflow")
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with (home / "mlflow.log").open("wb") as log:
        command = [str(PYTHON), str(SERVER), str(PORT)]
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
    plane = DataPlane(home)
    plane.write(route("flights", plane.add(flights_like, home / "p")))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)

        def up() -> bool:
            assert process.poll() is None, (home / "mlflow.log").read_text()[-2000:]
            return send(PORT, "", None, "/ping").status == 200

        until(up, seconds=120)
        yield PORT, plane.port
    finally:
        plane.stop()
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_both_answer_the_same(ports: tuple[int, int], case: Case) -> None:
    there, here = (send(port, case.kind, case.body) for port in ports)
    assert here.status == (case.ours or there.status), (here.body, there.body)
    assert case.ours != there.status, "MLflow answers the same: the exception can go"
    if here.status == there.status == 200:
        labels = [row["label"] for row in json.loads(here.body)["predictions"]]
        assert labels == json.loads(there.body)["predictions"]
    if here.status == there.status == 400:
        assert {"error_code", "message"} <= json.loads(here.body).keys()
        assert {"error_code", "message"} <= json.loads(there.body).keys()
        assert b"Traceback" not in here.body


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_both_have_the_same_probes(ports: tuple[int, int], path: str) -> None:
    there, here = (send(port, "", None, path) for port in ports)
    assert here.status == there.status == 200
