"""G1: versions switched, rolled back, and all workers replaced, under load: no request fails, none comes from a
version that was not live."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures, percentile
from packages_for_tests import linear_package
from tests.reliability.clients_for_tests import Answer, Load, difference, loaded, versions_counted

pytestmark = pytest.mark.serial

SWITCHES = 30
ROLLBACKS = 10
RESTARTS = 10 if FULL else 1
LEAST = 20_000 if FULL else 4_000
CALM_S = 5.0 if FULL else 0.5
STEP_S = 1.0 if FULL else 0.05
"""After a switch: where it is timed, its second has neither another in it nor workers that start."""
PAUSE_S = 0.01 if FULL else 0.0
"""Clients that leave nothing of the machine would time how long they wait for a processor."""


class Life:
    """Which version was live from when to when, as whoever switched them knows."""

    def __init__(self, plane: DataPlane, digests: dict[int, str]) -> None:
        self.plane = plane
        self.digests = digests
        self.current = 1
        self.since = time.monotonic()
        self.past: list[tuple[float, float, str]] = []
        self.rollbacks: list[float] = []
        self.switched: list[float] = []

    def forth(self) -> None:
        """As the local target does: hold it warm, see it ready everywhere, then move."""
        to, before = self.current + 1, max(self.current - 1, 1)
        warm = (self.digests[to], self.digests[before])
        self.plane.write(route("linear", self.digests[self.current], version=self.current, warm=warm))
        self.plane.warm(self.digests[to])
        self._move(to)

    def back(self) -> None:
        self.rollbacks.append(self._move(self.current - 1))

    def _move(self, to: int) -> float:
        """Until every worker answers by it; how long that took."""
        begun = time.monotonic()
        self.plane.write(route("linear", self.digests[to], version=to, warm=(self.digests[self.current],)))
        self.plane.settled()
        done = time.monotonic()
        self.past.append((self.since, done, str(self.current)))
        self.switched.append(begun)
        self.since, self.current = begun, to
        return done - begun

    def wrong(self, answers: list[Answer]) -> list[Answer]:
        """Answers from a version that was not live between the request's first byte and the answer's last."""
        live = [*self.past, (self.since, time.monotonic(), str(self.current))]
        return [
            one
            for one in answers
            if not any(one.version == v and one.begun <= end and one.ended >= start for start, end, v in live)
        ]


def restart(plane: DataPlane) -> None:
    """Replace every worker, one after the other."""
    before = {one.pid for one in plane.statuses()}
    assert plane.process is not None
    os.kill(plane.process.pid, signal.SIGHUP)
    until(lambda: len(plane.statuses()) == 2 and not before & {one.pid for one in plane.statuses()}, seconds=60)
    plane.settled()


def slower(load: Load, switched: list[float]) -> float:
    """The p99 of answers in the second after a switch, as a multiple of the p99 before the first one."""
    calm = [one.ended - one.begun for one in load.answers if one.ended < switched[0]]
    near = [one.ended - one.begun for one in load.answers if any(at <= one.begun <= at + 1.0 for at in switched)]
    return percentile(near, 0.99) / percentile(calm, 0.99)


def test_switches_rollbacks_and_rolling_restarts_fail_nobody(
    plane_of: DataPlane, tmp_path: Path, figures: Figures
) -> None:
    plane = plane_of
    digests = {n: plane.add(linear_package, tmp_path / f"v{n}", bias=n / 10) for n in range(1, SWITCHES + 2)}
    plane.write(route("linear", digests[1]))
    plane.start("--grpc-port", "0")
    plane.settled()
    life = Life(plane, digests)
    restarts = 0
    steps = SWITCHES + ROLLBACKS
    with loaded(plane, pause_s=PAUSE_S) as load:
        time.sleep(CALM_S)
        for step in range(steps):
            life.back() if step % 4 == 3 else life.forth()
            time.sleep(STEP_S)
            if step * RESTARTS // steps != (step + 1) * RESTARTS // steps:
                restart(plane)
                restarts += 1
                time.sleep(STEP_S)
        load.wait(LEAST + 500)
    figures.count("requests", len(load.answers), at_least=LEAST)
    figures.count("failed requests", len(load.failures) + len(load.lost), at_most=0)
    for kind in ("keep", "new", "grpc", "stream"):
        figures.note(f"requests, {kind}", load.kinds[kind])
    figures.note("streams that were ended between two requests", load.reopened)
    figures.count("switches", len(life.switched) - len(life.rollbacks), at_least=SWITCHES)
    figures.count("rollbacks", len(life.rollbacks), at_least=ROLLBACKS)
    figures.count("rolling restarts", restarts, at_least=RESTARTS)
    figures.count("answers from a version that was not live", len(life.wrong(load.answers)), at_most=0)
    figures.count(
        "counters differ from the clients' own",
        difference(versions_counted(plane), Counter(one.version for one in load.answers)),
        at_most=0,
    )
    figures.timed("slowest rollback, s", max(life.rollbacks), at_most=1.0)
    figures.timed("p99 in the second of a switch, of that before", slower(load, life.switched), at_most=1.5)
    figures.timed("longest gap between answers, s", longest_gap(load), at_most=1.0)
    for failure in [*load.failures, *load.lost][:5]:
        print(failure)
    figures.hold()


def longest_gap(load: Load) -> float:
    """Longest time without any answer, in seconds."""
    ends = sorted(one.ended for one in load.answers)
    return max(later - earlier for earlier, later in itertools.pairwise(ends))
