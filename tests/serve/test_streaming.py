"""Answers in pieces: in order, each a prediction of its own, no further ahead than the client reads."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_answers, linear_package, raising_package, slow_package
from penstock.records import Limits

STREAM = "/v2/models/linear/infer_stream"
ROWS = [[float(i), -1.0, 0.5, i / 7] for i in range(9)]


def events(body: bytes) -> list[tuple[str, dict]]:
    """Kind and data of each event."""
    found = []
    for block in body.decode().split("\n\n"):
        if block:
            lines = [line.partition(": ") for line in block.split("\n")]
            kind = next((value for name, _, value in lines if name == "event"), "message")
            found.append((kind, json.loads("\n".join(value for name, _, value in lines if name == "data"))))
    return found


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """``raising`` fails at some rows, ``slow`` takes its time."""
    home = tmp_path_factory.mktemp("others")
    plane = DataPlane(home)
    raising = plane.add(raising_package, home / "raising")
    slow = plane.add(slow_package, home / "slow", rounds=1000)
    plane.write(route("raising", raising), route("slow", slow, limits=Limits(deadline_s=60)))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


@given(rows=st.integers(1, 9), size=st.integers(1, 12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_are_the_whole(plane: DataPlane, rows: int, size: int) -> None:
    answer = plane.ask("POST", f"{STREAM}?rows={size}", v2(ROWS[:rows]))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    told = events(answer.body)
    assert [kind for kind, _ in told] == ["message"] * -(-rows // size)
    labels = [value for _, data in told for value in data["outputs"][0]["data"]]
    assert labels == linear_answers(np.array(ROWS[:rows]))["label"].tolist()


def test_every_piece_is_logged_under_its_own_id(plane: DataPlane) -> None:
    told = events(plane.ask("POST", f"{STREAM}?rows=2", v2(ROWS[:3])).body)
    ids = [data["parameters"]["prediction_id"] for _, data in told]
    assert len(set(ids)) == 2

    def logged() -> bool:
        return set(ids) <= {one.id for one in plane.exchanges()}

    until(logged)
    own = [one for one in plane.exchanges() if one.id in ids]
    assert [one.rows for one in own] == [2, 1]
    assert len({one.key for one in own}) == 1, "one request is one unit"


@pytest.mark.parametrize("path", ["/v2/models/linear/infer", "/v1/models/linear:predict"])
def test_who_accepts_events_gets_them_in_any_dialect(plane: DataPlane, path: str) -> None:
    body = v2(ROWS[:2]) if "v2" in path else json.dumps({"instances": ROWS[:2]})
    for _ in range(3):
        answer = plane.ask("POST", path, body, {"Accept": "text/event-stream"})
        assert len(events(answer.body)) == 2
    assert plane.ask("POST", path, body).headers["content-type"] == "application/json"


def test_what_fails_later_is_an_event(others: DataPlane) -> None:
    def body(*numbers: int) -> str:
        tensor = {"name": "i", "shape": [len(numbers)], "datatype": "INT64", "data": numbers}
        return json.dumps({"inputs": [tensor]})

    told = events(others.ask("POST", "/v2/models/raising/infer_stream", body(1, 99, 3)).body)
    assert [kind for kind, _ in told] == ["message", "error", "message"]
    assert [data["outputs"][0]["data"] for kind, data in told if kind == "message"] == [[1.0], [3.0]]
    assert told[1][1]["code"] == "runtime.model_failed"
    first = others.ask("POST", "/v2/models/raising/infer_stream", body(99, 1))
    assert first.status == 500
    assert first.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "body", "where"),
    [
        ("?rows=0", v2(ROWS), "query.rows"),
        ("?rows=-1", v2(ROWS), "query.rows"),
        ("?rows=many", v2(ROWS), "query.rows"),
        ("?rows=10000000", v2(ROWS), "query.rows"),
        ("", v2([[1.0]]), "inputs.X.shape"),
        ("", "{", None),
    ],
)
def test_refused_before_it_begins(plane: DataPlane, query: str, body: str, where: str | None) -> None:
    answer = plane.ask("POST", STREAM + query, body)
    assert answer.status == 400
    assert answer.json.get("where") == where


def test_order_of_pipelined_answers(plane: DataPlane) -> None:
    def request(path: str, body: str, more: str = "") -> bytes:
        return f"POST {path} HTTP/1.1\r\nhost: x\r\n{more}content-length: {len(body)}\r\n\r\n{body}".encode()

    alive = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    answer = plane.raw(request(STREAM, v2(ROWS)) + request("/v2/models/linear/infer", v2(ROWS[:1])) + alive)
    parts = answer.split(b"HTTP/1.1 200")
    assert [b"event-stream" in parts[1], b'"outputs"' in parts[2], b"alive" in parts[3]] == [True] * 3
    assert parts[1].endswith(b"\r\n0\r\n\r\n")


def test_http_1_0_ends_with_the_connection(plane: DataPlane) -> None:
    body = v2(ROWS)
    head = f"POST {STREAM} HTTP/1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    answer = plane.raw(head.encode() + body.encode())
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in first
    assert len(events(rest)) == len(ROWS)


def count(plane: DataPlane, endpoint: str) -> int:
    """Rows that it has answered."""
    text = plane.ask("GET", "/v2/models/stats").json["model_stats"]
    return sum(one["inference_count"] for one in text if one["name"] == endpoint)


def test_a_client_that_goes_away_ends_it(others: DataPlane) -> None:
    rows = [[1.0, 2.0, 3.0, 4.0]] * 500
    body = v2(rows)
    with socket.create_connection(("127.0.0.1", others.port)) as wire:
        head = f"POST /v2/models/slow/infer_stream HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        wire.sendall(head.encode() + body.encode())
        assert b"event-stream" in wire.recv(4096)
    after = -1
    while (now := count(others, "slow")) != after:
        after = now
        time.sleep(0.5)
    assert after < 400, "most rows never started"


def test_no_further_ahead_than_the_client_reads(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "linear")))
    # The kernel holds little for a Unix socket, and megabytes for a connection over TCP.
    plane.start("--spares", "0", "--unix-socket", str(tmp_path / "socket"), workers=1)
    rows = [[0.1, 0.2, 0.3, 0.4]] * 9000
    body = v2(rows)
    wire = socket.socket(socket.AF_UNIX)
    try:
        plane.settled(workers=1)
        wire.connect(str(tmp_path / "socket"))
        head = f"POST {STREAM} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        wire.sendall(head.encode() + body.encode())
        until(lambda: count(plane, "linear") > 0)
        ahead = -1
        while (now := count(plane, "linear")) != ahead:
            ahead = now
            time.sleep(0.5)
        assert ahead < len(rows) / 2, "it waits for the client"
        answer = b""
        while chunk := wire.recv(1 << 20):
            answer += chunk
        assert answer.count(b"data: ") == len(rows)
    finally:
        wire.close()
        plane.stop()


def test_a_stream_is_finished_before_the_server_goes(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("slow", plane.add(slow_package, tmp_path / "slow", rounds=1000)))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=30)
        connection.request("POST", "/v2/models/slow/infer_stream", v2([[1.0, 2.0, 3.0, 4.0]] * 20))
        answer = connection.getresponse()
        first = answer.read1()
        assert plane.process is not None
        plane.process.terminate()
        assert len(events(first + answer.read())) == 20
    finally:
        plane.stop()
