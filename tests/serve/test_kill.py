"""Workers killed with -9 under load: nobody is refused, each held request is visibly lost, nothing is half logged."""

from __future__ import annotations

import http.client
import itertools
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, alive, route, until, v2
from packages_for_tests import linear_package

SECONDS = 60 if os.environ.get("PENSTOCK_FULL") else 10
EVERY_S = 2.0
BODY = v2([[1.0, 2.0, 3.0, 4.0]])
PATH = "/v2/models/linear/infer"


class Client(threading.Thread):
    """Asks without retries; every request ends in an id or in a named loss."""

    def __init__(self, port: int, over: threading.Event, *, keep: bool) -> None:
        super().__init__()
        self.port = port
        self.over = over
        self.keep = keep
        self.ids: list[str] = []
        self.times: list[float] = []
        self.resets = 0
        self.refused = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        connection = None
        while not self.over.is_set():
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                    connection.connect()
                self._ask(connection)
                if self.keep:
                    continue
            except ConnectionRefusedError:
                self.refused += 1
            except (ConnectionError, http.client.RemoteDisconnected, http.client.IncompleteRead):
                self.resets += 1
            except OSError as error:
                self.wrong.append(repr(error))
            if connection is not None:
                connection.close()
            connection = None

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", PATH, BODY)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            self.wrong.append(f"{answer.status} {body!r}")
            return
        self.ids.append(answer.headers["x-prediction-id"])
        self.times.append(time.monotonic())


@pytest.mark.serial
def test_workers_killed_every_two_seconds(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start()
    over = threading.Event()
    try:
        plane.settled()
        clients = [Client(plane.port, over, keep=keep) for keep in (True, True, True, False)]
        for client in clients:
            client.start()
        kills = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            victims = plane.statuses()
            os.kill(victims[kills % len(victims)].pid, signal.SIGKILL)
            kills += 1
        time.sleep(1.0)
        over.set()
        for client in clients:
            client.join()
        until(lambda: len(plane.statuses()) == 2)
        counted = plane.ask("GET", "/metrics").body.decode()
    finally:
        over.set()
        plane.stop()
    assert [client.wrong for client in clients] == [[]] * 4
    assert sum(client.refused for client in clients) == 0
    assert sum(client.resets for client in clients) >= 1, "what a killed worker held is visibly lost"
    moments = sorted(moment for client in clients for moment in client.times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert max(gaps) <= 1.0, "back within a second"
    answered = {name for client in clients for name in client.ids}
    logged = [exchange.id for exchange in plane.exchanges()]
    assert len(logged) == len(set(logged))
    assert answered <= set(logged), "whatever was answered is in the log"
    (total,) = re.findall(r'penstock_requests_total{.*code="ok"} (\d+)', counted)
    assert len(answered) <= len(logged) <= int(total), "counters outlive the workers that counted"
    assert int(total) - len(logged) <= sum(client.resets for client in clients) + 4 * kills
    print(
        f"{kills} kills, {len(answered)} answers, {sum(c.resets for c in clients)} resets, worst gap {max(gaps):.3f} s"
    )


@pytest.mark.serial
def test_all_workers_killed_at_once_leave_the_spare(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start()
    try:
        plane.settled()
        assert plane.process is not None
        children = Path(f"/proc/{plane.process.pid}/task/{plane.process.pid}/children")
        until(lambda: len(children.read_text().split()) == 3)
        time.sleep(2.0)
        for victim in plane.statuses():
            os.kill(victim.pid, signal.SIGKILL)
        killed = time.monotonic()
        assert plane.ask("POST", PATH, BODY).status == 200, "connected, waited, answered: never refused"
        assert time.monotonic() - killed <= 1.0
        until(lambda: len(plane.statuses()) == 2)
    finally:
        plane.stop()


def test_a_stuck_worker_is_replaced(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start("--watchdog-s", "1.5", workers=1)
    try:
        plane.settled(workers=1)
        (stuck,) = plane.statuses()
        os.kill(stuck.pid, signal.SIGSTOP)
        until(lambda: [one.pid for one in plane.statuses()] not in ([stuck.pid], []))
        assert plane.ask("POST", PATH, BODY).status == 200
        until(lambda: not alive(stuck.pid))
    finally:
        plane.stop()


def test_when_the_supervisor_dies_its_workers_finish_and_end(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start(workers=1)
    plane.settled(workers=1)
    pids = [one.pid for one in plane.statuses()]
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as wire:
        assert plane.process is not None
        plane.process.kill()
        plane.process.wait()
        wire.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(BODY)))
        wire.sendall(BODY.encode())
        assert wire.recv(65536).startswith(b"HTTP/1.1 200")
    # A new one takes over at once: same port, same folder, same log, no half frames.
    port = plane.port
    plane.start("--port", str(port), workers=1)
    assert plane.port == port
    until(lambda: not any(alive(pid) for pid in pids))
    plane.settled(workers=1)
    assert plane.ask("POST", PATH, BODY).status == 200
    plane.stop()
    assert len(plane.exchanges()) == 2
