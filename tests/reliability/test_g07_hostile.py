"""G7: whatever is sent, it is answered with a 4xx or cut off, at once; nobody is replaced and memory stays.

`tests/serve/test_bad_requests.py` draws bodies from the signature and looks at each refusal; here it is the number.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from dataplane_for_tests import DataPlane, route
from figures_for_tests import FULL, Figures, percentile
from packages_for_tests import flights_like, linear_package
from tests.journeys.load_for_tests import resident_mib
from tests.reliability.clients_for_tests import PATH, Wire, counted, post, read_reply
from tests.reliability.hostile_for_tests import Case, Hostile, bomb, chunk, hostile_frames

pytestmark = pytest.mark.serial

LEAST = 24_000 if FULL else 3_000
ATTACKERS = 4
WHOLE = post()


class Attack:
    """Hostile clients in one loop; what came back, by kind and status."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.count = count
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.slowest: dict[str, float] = {}
        self.times: list[float] = []
        self.strange: list[str] = []

    def run(self) -> None:
        uvloop.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._attacker(seed) for seed in range(ATTACKERS)))

    async def _attacker(self, seed: int) -> None:
        hostile = Hostile(seed)
        wire = Wire(self.port)
        for _ in range(self.count // ATTACKERS):
            case = hostile.case()
            begun = time.monotonic()
            status = await (self._over(wire, case) if case.body_only else self._alone(case))
            seconds = time.monotonic() - begun
            self.times.append(seconds)
            self.slowest[case.what] = max(self.slowest.get(case.what, 0.0), seconds)
            self.statuses[case.what, status] += 1
            if not (400 <= status < 500 or status == 501):
                self.strange.append(f"{case.what}: {status} for {case.data[:300]!r}")
        wire.close()

    async def _over(self, wire: Wire, case: Case) -> int:
        """On a connection that is kept."""
        try:
            return (await wire.ask(case.data)).status
        except (OSError, TimeoutError, ValueError) as error:
            wire.close()
            self.strange.append(f"{case.what}: {error!r}")
            return 0

    async def _alone(self, case: Case) -> int:
        """On a connection of its own, which the server ends; nothing may come after the one refusal."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(case.data)
            reply = await asyncio.wait_for(read_reply(reader), 10.0)
            if not reply.last or await asyncio.wait_for(reader.read(), 10.0):
                self.strange.append(f"{case.what}: the connection went on")
            return reply.status
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            self.strange.append(f"{case.what}: {error!r}")
            return 0
        finally:
            writer.close()


class Large:
    """Bodies without end and bombs: how long after the first byte too many the refusal comes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, tuple[int, float]] = {}

    def run(self) -> None:
        uvloop.run(self._all())

    async def _all(self) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n".encode()
        declared = head + b"Content-Length: %d\r\n\r\n" % (65 << 20)
        self.answers["a length beyond the limit"] = await self._until_refused(declared, b"", 0)
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        self.answers["chunks beyond the limit"] = await self._until_refused(chunked, chunk(bytes(1 << 20)), 66)
        small = chunked + chunk(b"{") * 2000
        self.answers["many small chunks, then noise"] = await self._until_refused(small + b"zz\r\n", b"", 0)
        packed = bomb(200)
        coded = head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        self.answers["a bomb of 200 MiB"] = await self._until_refused(coded + packed, b"", 0)

    async def _until_refused(self, first: bytes, more: bytes, times: int) -> tuple[int, float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(first)
        try:
            for _ in range(times):
                writer.write(more)
                await writer.drain()
        except OSError:
            pass
        sent = time.monotonic()
        try:
            return (await asyncio.wait_for(read_reply(reader), 20.0)).status, time.monotonic() - sent
        except (OSError, asyncio.IncompleteReadError):
            return 0, time.monotonic() - sent
        finally:
            writer.close()


def test_hostile_requests(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = plane_of
    digests = (plane.add(linear_package, tmp_path / "l"), plane.add(flights_like, tmp_path / "f"))
    plane.write(route("linear", digests[0]), route("flights", digests[1]))
    plane.start("--spares", "0", "--grpc-port", "0")
    plane.settled()
    pids = [one.pid for one in plane.statuses()]
    for _ in range(200):
        assert plane.ask("POST", PATH, post().partition(b"\r\n\r\n")[2]).status == 200
    good = 200
    peak = Peak(pids)
    peak.start()
    attack = Attack(plane.port, LEAST)
    attack.run()
    attack_mib = peak.stop()
    peak = Peak(pids)
    peak.start()
    large = Large(plane.port)
    large.run()
    grpc = frames_attack(plane) if plane.grpc_port else ""
    more_mib = peak.stop()
    answered = sum(attack.statuses.values())
    server_errors = sum(n for (_, status), n in attack.statuses.items() if status >= 500 and status != 501)
    figures.count("hostile requests", answered, at_least=LEAST)
    figures.count("answered 5xx", server_errors, at_most=0)
    figures.count("neither refused nor cut off", len(attack.strange), at_most=0)
    figures.count("workers replaced", sum(one.pid not in pids for one in plane.statuses()), at_most=0)
    refused = sum(400 <= status < 500 for status, _ in large.answers.values())
    figures.count("bombs and endless bodies refused", refused, at_least=len(large.answers))
    figures.count("MiB more at the worst moment", round(attack_mib, 1), at_most=64)
    figures.count("MiB more under endless bodies and bombs (limit 64)", round(more_mib, 1), at_most=64 + 16)
    figures.note("hostile HTTP/2 connections", grpc)
    by_code = {label: n for label, n in counted(plane).items() if label.code == "ok"}
    figures.count("counters differ from the clients' own", abs(sum(by_code.values()) - good), at_most=0)
    assert plane.ask("POST", PATH, post().partition(b"\r\n\r\n")[2]).status == 200
    figures.timed("slowest refusal, s", max(attack.times), at_most=0.1)
    figures.timed("p99 of refusals, s", percentile(attack.times, 0.99), at_most=0.1)
    for what, (status, seconds) in large.answers.items():
        figures.timed(f"{what}: {status} after, s", seconds, at_most=0.1)
    print(*attack.strange[:8], sep="\n")
    print(dict(attack.statuses))
    print({what: round(seconds, 4) for what, seconds in attack.slowest.items()})
    figures.hold()


class Peak(threading.Thread):
    """How much more memory processes take at the worst moment, in MiB."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._over = threading.Event()
        self._before = {pid: resident_mib(pid) for pid in pids}
        self._most = 0.0

    def run(self) -> None:
        while not self._over.wait(0.01):
            self._most = max(self._most, *(resident_mib(pid) - self._before[pid] for pid in self._pids))

    def stop(self) -> float:
        self._over.set()
        self.join()
        return self._most


def frames_attack(plane: DataPlane) -> int:
    """Connections of hostile frames to the gRPC listener; each must end, and nobody with it."""
    chance = random.Random(7)

    async def one(data: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.grpc_port)
        writer.write(data)
        writer.write_eof()
        try:
            await asyncio.wait_for(reader.read(), 10.0)
        except ConnectionError:
            pass
        finally:
            writer.close()
        return 1

    async def all_of_them() -> int:
        return sum([await one(hostile_frames(chance)) for _ in range(LEAST // 20)])

    return uvloop.run(all_of_them())
