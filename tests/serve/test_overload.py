"""A full queue refuses fast, a request whose time is over never runs, and health answers meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dataplane_for_tests import Answered, DataPlane, route, v2
from packages_for_tests import slow_package
from penstock.records import Limits

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
PATH = "/v2/models/slow/infer"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("slow")
    plane = DataPlane(home)
    digest = plane.add(slow_package, home / "slow", rounds=1500)
    plane.write(route("slow", digest, limits=Limits(queue=4)))
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
    answers = at_once(slow, 24)
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
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
    started = time.monotonic()
    slow.ask("POST", PATH, BODY)
    alone = time.monotonic() - started
    started = time.monotonic()
    answers = at_once(slow, 5)
    together = time.monotonic() - started
    assert [answer.status for answer in answers] == [200] * 5
    assert together < 4 * alone, "the first one runs alone, the rest in one batch"
