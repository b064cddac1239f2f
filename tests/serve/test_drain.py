"""The end of a data plane, and of one worker after the other: everything that was asked is answered."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package, slow_package

BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def test_sigterm_says_not_ready_finishes_and_exits(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(slow_package, tmp_path / "slow", rounds=12_000)
    plane.write(route("slow", digest))
    plane.start(workers=1)
    plane.settled(workers=1)
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        answer = plane.ask("POST", "/v2/models/slow/infer", BODY)
        answers.append((answer.status, answer.headers.get("connection", "")))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    assert plane.process is not None
    plane.process.send_signal(signal.SIGTERM)
    until(lambda: plane.ask("GET", "/v2/health/ready").status == 503, seconds=1)
    asking.join()
    assert plane.process.wait(10) == 0
    assert answers == [(200, "close")]
    assert not list((plane.run / "workers").glob("*.json"))
    assert not (plane.run / "supervisor.json").exists()
    assert len(plane.exchanges()) == 1


def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(slow_package, tmp_path / "slow", rounds=100_000)
    plane.write(route("slow", digest))
    # Proving takes as long as answering: the worker accepts at once, and is not ready.
    plane.start(workers=1)
    until(lambda: len(plane.statuses()) == 1)
    assert plane.process is not None
    plane.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    plane.process.send_signal(signal.SIGTERM)
    assert plane.process.wait(5) == 0


@pytest.mark.serial
def test_a_rolling_restart_fails_nobody(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start()
    failures: list[str] = []
    counts = [0, 0]
    over = threading.Event()

    def client(keep: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=10)
        while not over.is_set():
            try:
                connection.request("POST", "/v2/models/linear/infer", BODY)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(str(answer.status))
                counts[keep] += 1
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
            if not keep:
                connection.close()
            else:
                time.sleep(0.01)

    try:
        plane.settled()
        threads = [threading.Thread(target=client, args=(keep,)) for keep in (1, 1, 0)]
        for thread in threads:
            thread.start()
        before = {one.pid for one in plane.statuses()}
        assert plane.process is not None
        os.kill(plane.process.pid, signal.SIGHUP)
        until(lambda: len(plane.statuses()) == 2 and not before & {one.pid for one in plane.statuses()})
        time.sleep(0.5)
        over.set()
        for thread in threads:
            thread.join()
    finally:
        over.set()
        plane.stop()
    assert failures == []
    assert min(counts) > 50
