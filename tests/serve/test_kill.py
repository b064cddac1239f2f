"""A worker that hangs is replaced; when the supervisor dies its workers finish and end."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from dataplane_for_tests import DataPlane, alive, route, until, v2
from packages_for_tests import linear_package

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
PATH = "/v2/models/linear/infer"


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
