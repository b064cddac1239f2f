"""The differential matrix of today's V2 servers, as data: our column is true in every row.

``matrix_v2.json`` has one entry a row: steps that are asked in order (a request, and what its answer must be), or the
name of a scenario below, where a row is about more than requests and answers.
"""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import echo_package, linear_package, raising_package, slow_package
from penstock.records import Batching, Limits

ROWS = json.loads((Path(__file__).parent / "matrix_v2.json").read_text())
COMPAT = json.loads((Path(__file__).parent / "compat_v2.json").read_text())
ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "br": lambda b: b}
ROW = v2([[1.0, 2.0, 3.0, 4.0]])
SLOW = "/v2/models/slow/infer"


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DataPlane]]:
    """``usual`` has an endpoint for each option; ``only`` and ``strict`` have one endpoint alone."""
    started: dict[str, DataPlane] = {}
    try:
        for name in ("usual", "only", "strict"):
            home = tmp_path_factory.mktemp(name)
            plane = started[name] = DataPlane(home)
            echo = plane.add(echo_package, home / "echo")
            routes = [route("echo", echo, limits=Limits(max_rows=100))]
            if name == "usual":
                routes += [
                    route("norows", echo, limits=Limits(no_rows="answer")),
                    route("tokens", echo, limits=Limits(nan="token")),
                    route("linear", plane.add(linear_package, home / "linear")),
                    route("spare", plane.add(linear_package, home / "spare", bias=1.0)),
                    route("raising", plane.add(raising_package, home / "raising")),
                ]
            plane.write(*routes)
            strict = ("--strict-readiness",) if name == "strict" else ()
            plane.start("--spares", "0", "--allow", "load", *strict, workers=1)
        for plane in started.values():
            plane.settled(workers=1)
        yield started
    finally:
        for plane in started.values():
            plane.stop()


def asked(plane: DataPlane, step: dict) -> Answered:
    method, _, path = step["ask"].partition(" ")
    headers: dict[str, str] = {}
    body = json.dumps(step["json"]).encode() if "json" in step else step.get("text", "").encode()
    if "raw" in step:
        head = json.dumps(step["head"]).encode() if "head" in step else b""
        body = head + np.array(step["raw"], "<f4").tobytes()
        length = step.get("length", str(len(head)))
        if length is not None:
            headers["Inference-Header-Content-Length"] = length
    if "encoding" in step:
        headers["Content-Encoding"] = step["encoding"]
        body = ENCODERS[step["encoding"]](body)
    return plane.ask(method, path, body, headers)


@pytest.mark.parametrize("row", [row for row in ROWS if "steps" in row], ids=lambda row: row["row"])
def test_row(planes: dict[str, DataPlane], row: dict) -> None:
    hold(planes, row["steps"])


@pytest.mark.parametrize("compat", COMPAT)
def test_whose_habits_are_followed(tmp_path: Path, compat: str) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("echo", plane.add(echo_package, tmp_path / "echo")))
    plane.start("--spares", "0", "--allow", "load", "--compat", compat, workers=1)
    try:
        plane.settled(workers=1)
        hold({"usual": plane}, COMPAT[compat])
    finally:
        plane.stop()


def hold(planes: dict[str, DataPlane], steps: list[dict]) -> None:
    """Each step is answered as it says."""
    for step in steps:
        answer = asked(planes[step.get("plane", "usual")], step)
        assert answer.status == step["status"], (step, answer.body)
        text = answer.body.decode("utf-8", "replace")
        assert all(part in text for part in step.get("has", ())), (step, text)
        assert not any(part in text for part in step.get("not", ())), (step, text)
        if "is" in step:
            assert answer.json == step["is"]
        if "empty" in step:
            assert answer.body == b""
        if "raw_out" in step:
            length = int(answer.headers["inference-header-content-length"])
            assert np.frombuffer(answer.body[length:], "<f4").tolist() == step["raw_out"]
        if answer.status >= 400 and not step["ask"].endswith("/ready"):
            assert answer.json["error"], "text under error, whatever went wrong"


def test_every_row_is_there() -> None:
    assert len(ROWS) == len({row["row"] for row in ROWS}) == 30
    scenarios = {row["scenario"] for row in ROWS if "scenario" in row}
    assert scenarios == {name.removeprefix("test_scenario_") for name in globals() if name.startswith("test_scenario_")}
    assert all(("scenario" in row) != ("steps" in row) and row["ours"] for row in ROWS)


# -- scenarios


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """The last scenario that uses it ends it."""
    home = tmp_path_factory.mktemp("slow")
    plane = DataPlane(home)
    digest = plane.add(slow_package, home / "slow", rounds=8000)
    # The queue alone refuses, and not how long one would wait in it.
    plane.write(route("slow", digest, limits=Limits(queue=4, deadline_s=30, batching=Batching(wait_s=30))))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


def ask_at_once(plane: DataPlane, count: int) -> list[Answered]:
    answers: list[Answered] = []
    threads = [threading.Thread(target=lambda: answers.append(plane.ask("POST", SLOW, ROW))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_scenario_queue_full(slow: DataPlane) -> None:
    answers = ask_at_once(slow, 16)
    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    assert len(refused) < 16
    assert {answer.status for answer in refused} <= {429, 503}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json["error"] for answer in refused)


@pytest.mark.serial
def test_scenario_reload_under_load(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    old, new = plane.add(linear_package, tmp_path / "a"), plane.add(linear_package, tmp_path / "b", bias=3.0)
    plane.write(route("linear", old))
    plane.start("--allow", "load")
    over, faults, slowest, counts = threading.Event(), [], [0.0], [0] * 4
    versions: set[str] = set()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=10)
        while not over.is_set():
            started = time.monotonic()
            try:
                connection.request("POST", "/v2/models/linear/infer", ROW)
                answer = connection.getresponse()
                versions.add(json.loads(answer.read())["model_version"])
                if answer.status != 200:
                    faults.append(str(answer.status))
            except (OSError, http.client.HTTPException, KeyError) as error:
                faults.append(repr(error))
            slowest[0] = max(slowest[0], time.monotonic() - started)
            counts[number] += 1
        connection.close()

    try:
        plane.settled()
        threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for number in range(4):
            plane.write(route("linear", (old, new)[number % 2], version=1 + number % 2))
            assert plane.ask("POST", "/v2/repository/models/linear/load").status == 200
            plane.settled()
            time.sleep(0.1)
    finally:
        over.set()
        for thread in threads:
            thread.join()
        plane.stop()
    assert faults == []
    assert min(counts) > 20
    assert versions == {"1", "2"}
    print(f"slowest answer while models were exchanged: {slowest[0] * 1e3:.0f} ms over {sum(counts)} requests")


def test_scenario_client_disconnects(slow: DataPlane) -> None:
    def runs() -> int:
        return int(slow.ask("GET", "/v2/models/slow/stats").json["model_stats"][0]["execution_count"])

    def abandoned() -> socket.socket:
        wire = socket.create_connection(("127.0.0.1", slow.port))
        head = f"POST {SLOW} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ROW)}\r\n\r\n"
        wire.sendall(head.encode() + ROW.encode())
        return wire

    before = runs()
    held = threading.Thread(target=lambda: ask_at_once(slow, 1))
    held.start()
    time.sleep(0.1)
    wires = [abandoned() for _ in range(3)]
    time.sleep(0.1)
    assert held.is_alive(), "they wait behind another one"
    for wire in wires:
        wire.close()
    time.sleep(0.2)
    assert held.is_alive(), "it is known that they are gone before it would be their turn"
    held.join()
    until(lambda: slow.ask("POST", SLOW, ROW).status == 200)
    assert runs() - before == 2, "the three that nobody waits for any more never ran"
    until(lambda: b"penstock_requests_in_flight 0" in slow.ask("GET", "/metrics").body)


def test_scenario_sigterm(slow: DataPlane) -> None:
    answers: list[Answered] = []
    asking = threading.Thread(target=lambda: answers.extend(ask_at_once(slow, 2)))
    asking.start()
    time.sleep(0.1)
    assert slow.process is not None
    slow.process.send_signal(signal.SIGTERM)
    # It says that it is not ready while it still takes what comes: whoever asks is answered, then it is gone.
    until(lambda: slow.ask("GET", "/v2/health/ready").status == 503, seconds=20)
    asking.join()
    assert slow.process.wait(60) == 0
    assert [answer.status for answer in answers] == [200, 200]
    with pytest.raises(ConnectionError):
        slow.ask("GET", "/v2/health/live")


def test_scenario_counters_kept(planes: dict[str, DataPlane]) -> None:
    plane = planes["usual"]

    def counts() -> tuple[object, ...]:
        one = plane.ask("GET", "/v2/models/spare/stats").json["model_stats"][0]
        return one["inference_count"], one["execution_count"], one["inference_stats"]["success"], one["batch_stats"]

    for _ in range(3):
        assert plane.ask("POST", "/v2/models/spare/infer", ROW).status == 200
    before = counts()
    assert before[0]
    assert before[1]
    for what in ("unload", "load"):
        assert plane.ask("POST", f"/v2/repository/models/spare/{what}").status == 200
        assert counts() == before
