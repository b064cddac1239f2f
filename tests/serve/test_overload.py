"""A full queue refuses fast, a request whose time is over never runs, and health answers meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import slow_package
from penstock.records import Batching, Limits

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
PATH = "/v2/models/slow/infer"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("slow")
    plane = DataPlane(home)
    digest = plane.add(slow_package, home / "slow", rounds=1500)
    plane.write(route("slow", digest, limits=Limits(queue=4, batching=Batching(wait_s=100.0))))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


def at_once(plane: DataPlane, count: int, headers: dict[str, str] | None = None) -> list[Answered]:
    answers: list[Answered] = []
    threads = [
        threading.Thread(target=lambda: answers.append(plane.ask("POST", PATH, BODY, headers))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_beyond_the_queue_it_refuses_and_says_when_to_come_back(slow: DataPlane) -> None:
    ahead = threading.Thread(target=lambda: at_once(slow, 1))
    ahead.start()
    time.sleep(0.03)
    answers = at_once(slow, 24)
    ahead.join()
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert all(1 <= int(answer.headers["retry-after"]) <= 10 for answer in refused)
    assert all(answer.json["code"] == "serve.overloaded" for answer in refused)
    assert slow.ask("POST", PATH, BODY).status == 200


def test_an_expired_request_is_told_so_and_never_runs(slow: DataPlane) -> None:
    ahead = threading.Thread(target=lambda: at_once(slow, 2))
    ahead.start()
    time.sleep(0.05)
    answer = slow.ask("POST", PATH, BODY, {"x-deadline-ms": "10"})
    ahead.join()
    assert answer.status == 504
    assert answer.json["code"] == "serve.deadline"
    by_parameter = slow.ask("POST", PATH, v2([[1.0, 2.0, 3.0, 4.0]], parameters={"timeout": 2000}))
    assert by_parameter.status == 504


def test_health_answers_while_the_model_works(slow: DataPlane) -> None:
    busy = threading.Thread(target=lambda: at_once(slow, 3))
    busy.start()
    worst = 0.0
    while busy.is_alive():
        started = time.monotonic()
        assert slow.ask("GET", "/v2/health/ready").status == 200
        worst = max(worst, time.monotonic() - started)
    assert worst < 1.0


def test_what_waits_is_answered_in_one_run(slow: DataPlane) -> None:
    for _ in range(3):  # the largest batch is found by running it
        at_once(slow, 5)
    before = runs_and_rows(slow)
    answers = [answer for _ in range(3) for answer in at_once(slow, 4)]
    assert [answer.status for answer in answers] == [200] * 12
    runs, rows = (after - then for after, then in zip(runs_and_rows(slow), before, strict=True))
    assert rows == 12
    assert runs < 12, "those that waited while one ran went together"


def runs_and_rows(plane: DataPlane) -> tuple[int, int]:
    """Runs of the model, and the rows in them."""
    (stats,) = plane.ask("GET", "/v2/models/slow/stats").json["model_stats"]
    return stats["execution_count"], stats["inference_count"]


def codes(plane: DataPlane) -> dict[str, int]:
    """Requests by what became of them, as the server counts."""
    lines = plane.ask("GET", "/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith("penstock_requests_total{")]
    return {line.partition('code="')[2].partition('"')[0]: int(float(line.rpartition(" ")[2])) for line in found}


def test_who_goes_away_is_not_run_and_is_counted(slow: DataPlane) -> None:
    before = codes(slow).get("serve.cancelled", 0)
    ahead = threading.Thread(target=lambda: [at_once(slow, 2) for _ in range(3)])
    ahead.start()
    time.sleep(0.05)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", slow.port)) as wire:
            wire.sendall(head.encode() + BODY.encode())
            time.sleep(0.02)
    ahead.join()
    until(lambda: codes(slow).get("serve.cancelled", 0) > before)
    assert slow.ask("POST", PATH, BODY).status == 200


def test_who_only_stops_sending_is_answered_however_long_it_takes(slow: DataPlane) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ahead = threading.Thread(target=lambda: at_once(slow, 2))
    ahead.start()
    time.sleep(0.05)
    with socket.create_connection(("127.0.0.1", slow.port), timeout=10) as wire:
        wire.sendall(head.encode() + BODY.encode())
        wire.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    ahead.join()
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1")]
    assert lines[-1] == b"HTTP/1.1 200 OK"
    assert set(lines[:-1]) <= {b"HTTP/1.1 102 Processing"}
