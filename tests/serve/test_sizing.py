"""Workers and threads as a release says, changed while it answers."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

from dataplane_for_tests import DataPlane, alive, route, until, v2
from packages_for_tests import linear_package
from penstock.records import Limits, Sizing

BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def threads_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_workers_and_threads_follow_the_snapshot_and_nobody_is_refused(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start(workers=1)
    over, statuses = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            statuses.append(plane.ask("POST", "/v2/models/linear/infer", BODY).status)

    client = threading.Thread(target=ask)
    try:
        plane.settled(workers=1)
        (first,) = [one.pid for one in plane.statuses()]
        alone = threads_of(first)
        client.start()

        plane.write(route("linear", digest, limits=Limits(sizing=Sizing(workers=3, threads=2))))
        plane.settled(workers=3)
        assert json.loads((plane.run / "supervisor.json").read_bytes())["workers"] == 3
        pids = {one.pid for one in plane.statuses()}
        assert first in pids
        assert len(pids) == 3
        assert threads_of(first) == alone + 1, "a run has one thread more"

        plane.write(route("linear", digest))
        until(lambda: [one.pid for one in plane.statuses()] == [first])
        until(lambda: not any(alive(pid) for pid in pids - {first}))
        until(lambda: threads_of(first) == alone)
        assert json.loads((plane.run / "supervisor.json").read_bytes())["workers"] == 1
    finally:
        over.set()
        if client.is_alive():
            client.join()
        assert plane.stop() == 0
    assert set(statuses) == {200}
    assert len(statuses) > 20


def test_a_retired_worker_ends_after_its_grace_whoever_holds_on_to_it(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start("--grace-s", "1")
    try:
        plane.settled()
        pids = {one.pid for one in plane.statuses()}
        begun = [socket.create_connection(("127.0.0.1", plane.port)) for _ in range(16)]
        for wire in begun:
            wire.sendall(b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        plane.write(route("linear", digest, limits=Limits(sizing=Sizing(workers=1))))
        # A body that does not come is given 7 s by itself.
        until(lambda: sum(map(alive, pids)) == 1, seconds=5)
        for wire in begun:
            wire.close()
        assert plane.ask("POST", "/v2/models/linear/infer", BODY).status == 200
    finally:
        plane.stop()
