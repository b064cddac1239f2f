"""G6: hundreds of clients that send or read as slowly as they may, beside good ones that do not notice."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures, percentile
from packages_for_tests import linear_package
from penstock.records import Limits
from tests.journeys.load_for_tests import descriptors
from tests.reliability.clients_for_tests import PATH, loaded, post

pytestmark = pytest.mark.serial

COUNTS = {"head": 500, "body": 200, "read": 200} if FULL else {"head": 60, "body": 30, "read": 30}
CALM_S = 5.0 if FULL else 1.0
COMING_S = 3.0 if FULL else 0.5
"""Slow clients come one after the other: it is not the rush of their first requests that is measured."""
CLOSED_S = 10.0
GIVE_UP_S = 25.0
ROWS = 4000
CLIENTS = {"keep": 2, "new": 1}


class Slow(threading.Thread):
    """All slow clients, in one loop; each tells after how many seconds it was closed, or that it never was."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.seconds: dict[str, list[float]] = {kind: [] for kind in COUNTS}
        self.held: set[int] = set()
        self.never = 0
        self.failed: list[str] = []

    def run(self) -> None:
        uvloop.run(self._all())

    async def _all(self) -> None:
        kinds = {"head": self._head, "body": self._body, "read": self._read}
        watch = asyncio.get_running_loop().create_task(self._watch())
        coming = [(kind, COMING_S * at / n) for kind, n in COUNTS.items() for at in range(n)]
        await asyncio.gather(*(self._timed(kind, kinds[kind], after_s) for kind, after_s in coming))
        watch.cancel()

    async def _watch(self) -> None:
        """Which connections the server holds, for those who cannot see it."""
        while True:
            await asyncio.sleep(0.2)
            self.held = held_by(self.port)

    async def _timed(self, kind: str, act, after_s: float) -> None:
        await asyncio.sleep(after_s)
        begun = time.monotonic()
        try:
            # Who reads nothing is slow from when all was asked; how long the asking took is the machine's doing.
            begun = await asyncio.wait_for(act(), GIVE_UP_S) or begun
        except TimeoutError:
            self.never += 1
        except OSError as error:
            self.failed.append(f"{kind}: {error!r}")
        self.seconds[kind].append(time.monotonic() - begun)

    async def _head(self) -> None:
        """A header line every second, for ever."""
        await self._drip(b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: localhost\r\n", b"X-%d: y\r\n")

    async def _body(self) -> None:
        """A body of 100,000 bytes, a few a second."""
        await self._drip(post(body=b"")[:-5] + b"100000\r\n\r\n", b"%8d")

    async def _drip(self, first: bytes, more: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)

        async def dripping() -> None:
            turn = 0
            while True:
                await asyncio.sleep(1.0)
                writer.write(more % turn)
                turn += 1

        drops = asyncio.get_running_loop().create_task(dripping())
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        finally:
            drops.cancel()
            writer.close()

    async def _read(self) -> float:
        """Ask for megabytes and read none of them; the end of it can be seen at the server's side alone."""
        loop = asyncio.get_running_loop()
        wire = socket.socket()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        wire.setblocking(False)
        try:
            await loop.sock_connect(wire, ("127.0.0.1", self.port))
            own = wire.getsockname()[1]
            self.held.add(own)
            await loop.sock_sendall(wire, LARGE * 8)
            asked = time.monotonic()
            await asyncio.sleep(1.0)
            while own in self.held:
                await asyncio.sleep(0.1)
        except ConnectionError:
            return time.monotonic()
        else:
            return asked
        finally:
            wire.close()


def held_by(port: int) -> set[int]:
    """Ports of the clients whose connections a listener's processes hold open (states 01 and 08)."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if int(local.partition(":")[2], 16) == port and state in ("01", "08"):
            found.add(int(remote.partition(":")[2], 16))
    return found


def large() -> bytes:
    """A request whose answer is much larger than what a socket holds."""
    tensor = {"name": "X", "shape": [ROWS, 4], "datatype": "FP32", "parameters": {"binary_data_size": ROWS * 16}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return post(PATH, head + bytes(ROWS * 16), f"Inference-Header-Content-Length: {len(head)}")


LARGE = large()


def test_good_clients_do_not_notice_slow_ones(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = plane_of
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest, limits=Limits(log="off", max_rows=10_000)))
    plane.start()
    plane.settled()
    pids = [one.pid for one in plane.statuses()]
    until(lambda: plane.ask("GET", "/v2/health/ready").status == 200)
    time.sleep(1.0)
    before = sum(descriptors(pid) for pid in pids)
    with loaded(plane, CLIENTS, pause_s=0.005) as calm:
        time.sleep(CALM_S)
    slow = Slow(plane.port)
    with loaded(plane, CLIENTS, pause_s=0.005) as load:
        slow.start()
        slow.join()
        load.wait(500, seconds=60)
    with suppress(AssertionError):
        until(lambda: sum(descriptors(pid) for pid in pids) <= before + 2, seconds=5)
    usual = percentile([one.ended - one.begun for one in calm.answers], 0.99)
    beside = percentile([one.ended - one.begun for one in load.answers], 0.99)
    figures.count("slow connections", sum(len(times) for times in slow.seconds.values()), at_least=sum(COUNTS.values()))
    figures.count("good clients' requests", len(load.answers), at_least=500)
    figures.count("good clients' failed requests", len(load.failures) + len(load.lost), at_most=0)
    figures.count("slow connections never closed", slow.never, at_most=0)
    figures.count("slow connections refused", len(slow.failed), at_most=0)
    for kind, times in slow.seconds.items():
        figures.timed(f"slowest to be closed, slow {kind}, s", max(times), at_most=CLOSED_S)
    figures.timed("good clients' p99, of that without slow ones", beside / usual, at_most=2.0)
    figures.count("descriptors more", sum(descriptors(pid) for pid in pids) - before, at_most=2)
    assert [one.pid for one in plane.statuses()] == pids, "nobody was replaced"
    print(slow.failed[:3], [*load.failures, *load.lost][:3])
    figures.hold()
