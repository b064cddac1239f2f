"""G5: sent more than it can, it answers as many as it can in nearly its usual time, and refuses the rest at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures, percentile
from penstock.records import Limits
from tests.journeys.load_for_tests import resident_mib
from tests.reliability.arrivals_for_tests import Arrivals
from tests.reliability.clients_for_tests import Wire, counted, post
from tests.reliability.models_for_tests import fixed_package, number

pytestmark = pytest.mark.serial

RUN_S = 0.05
QUEUE = 4
SECONDS = 15.0 if FULL else 2.0
TIMES_OVER = {2: 0.95, 5: 0.95, 10: 0.90} if FULL else {5: 0.95}
REQUEST = post("/v2/models/fixed/infer", number(1.0))


class Meanwhile(threading.Thread):
    """Asks for health, and moves the endpoint between two versions, while others overload it."""

    def __init__(self, plane: DataPlane, digests: tuple[str, str]) -> None:
        super().__init__()
        self.plane = plane
        self.digests = digests
        self.over = threading.Event()
        self.health_s: list[float] = []
        self.switch_s: list[float] = []
        self.unhealthy = 0

    def run(self) -> None:
        turn = 0
        while not self.over.is_set():
            turn += 1
            begun = time.monotonic()
            self.unhealthy += self.plane.ask("GET", "/v2/health/ready").status != 200
            self.health_s.append(time.monotonic() - begun)
            if turn % 10 == 0:
                self.switch_s.append(self._switch(turn // 10 % 2))
            self.over.wait(0.05)

    def _switch(self, to: int) -> float:
        begun = time.monotonic()
        laid(self.plane, self.digests, to)
        until(lambda: [one.snapshot for one in self.plane.statuses()] == [self.plane.number])
        return time.monotonic() - begun


def laid(plane: DataPlane, digests: tuple[str, str], to: int) -> None:
    limits = Limits(queue=QUEUE)
    plane.write(route("fixed", digests[to], version=to + 1, warm=(digests[1 - to],), limits=limits))


@pytest.fixture
def overloaded(plane_of: DataPlane, tmp_path: Path) -> tuple[DataPlane, tuple[str, str]]:
    """One worker; a run takes 50 ms, and as many as wait go into one."""
    plane = plane_of
    digests = tuple(plane.add(fixed_package, tmp_path / f"v{n}", seconds=RUN_S, name=f"fixed-{n}") for n in (1, 2))
    laid(plane, digests, 0)
    plane.start("--spares", "0", workers=1)
    plane.settled(workers=1)
    for digest in digests:
        plane.warm(digest, workers=1)
    return plane, digests


async def _closed(port: int, clients: int, seconds: float) -> int:
    """Answers that so many clients get who ask again at once."""
    end = time.monotonic() + seconds

    async def client() -> int:
        wire, answered = Wire(port), 0
        while time.monotonic() < end:
            reply = await wire.ask(REQUEST)
            answered += reply.status == 200
            if reply.status != 200:
                await asyncio.sleep(0.005)
        wire.close()
        return answered

    return sum(await asyncio.gather(*(client() for _ in range(clients))))


def capacity(plane: DataPlane) -> float:
    """Answers a second when there is always somebody in the queue."""
    seconds = max(SECONDS / 3, 1.0)
    return uvloop.run(_closed(plane.port, 3 * QUEUE, seconds)) / seconds


def test_goodput_refusals_and_recovery(overloaded: tuple[DataPlane, tuple[str, str]], figures: Figures) -> None:
    plane, digests = overloaded
    (worker,) = (one.pid for one in plane.statuses())
    full = capacity(plane)
    base = Counter({label.code: count for label, count in counted(plane).items()})
    figures.note("capacity, a second", round(full, 1))
    usual = Arrivals(plane.port, REQUEST, rate=0.8 * full, seconds=SECONDS).run()
    usual_p99 = percentile(usual.times(200), 0.99)
    figures.note("p99 at 0.8x, ms", round(1e3 * usual_p99, 1))
    memory = resident_mib(worker)
    meanwhile = Meanwhile(plane, digests)
    meanwhile.start()
    loads = [usual]
    for times, share in TIMES_OVER.items():
        load = Arrivals(plane.port, REQUEST, rate=times * full, seconds=SECONDS).run()
        loads.append(load)
        refused = [one for one in load.done if one.status in (429, 503)]
        others = sum(n for status, n in load.statuses.items() if status not in (200, 429, 503))
        figures.count(f"neither answered nor refused at {times}x", others, at_most=0)
        figures.count(
            f"refused at {times}x without Retry-After", sum(not one.retry_after for one in refused), at_most=0
        )
        figures.timed(f"goodput at {times}x, of capacity", load.goodput() / full, at_least=share)
        figures.timed(
            f"p99 of admitted at {times}x, of that at 0.8x", percentile(load.times(200), 0.99) / usual_p99, at_most=2.0
        )
        figures.timed(f"p99 of refusals at {times}x, s", percentile(load.times(429, 503), 0.99), at_most=0.02)
    over = max(one.due for one in loads[-1].done)
    after = Arrivals(plane.port, REQUEST, rate=0.5 * full, seconds=3.0).run()
    loads.append(after)
    meanwhile.over.set()
    meanwhile.join()
    late = [one for one in after.done if one.due - over > 2.0]
    figures.count("refused two seconds after", sum(one.status != 200 for one in late), at_most=0)
    figures.timed(
        "p99 two seconds after, of that at 0.8x",
        percentile([one.seconds for one in late], 0.99) / usual_p99,
        at_most=1.5,
    )
    figures.count("MiB more", round(resident_mib(worker) - memory, 1), at_most=50)
    figures.count("not ready meanwhile", meanwhile.unhealthy, at_most=0)
    figures.timed("health p99, s", percentile(meanwhile.health_s, 0.99), at_most=0.1)
    figures.timed("rollback p99, s", percentile(meanwhile.switch_s, 0.99), at_most=0.1)
    mine = Counter(one.code for load in loads for one in load.done)
    now: Counter[str] = Counter()
    for label, count in counted(plane).items():
        now[label.code] += count
    figures.count(
        "counters differ from the clients' own",
        sum(abs(now[c] - base[c] - mine[c]) for c in now.keys() | mine.keys()),
        at_most=0,
    )
    figures.hold()
