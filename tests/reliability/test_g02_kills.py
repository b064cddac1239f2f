"""G2: processes killed with -9 under load. A worker's death refuses nobody, what it held is visibly lost, nothing is
half logged; a sandboxed model's death is seen by nobody (`test_g02_sandboxed`)."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures
from packages_for_tests import linear_package
from tests.reliability.clients_for_tests import Load, loaded, versions_counted

pytestmark = pytest.mark.serial

SECONDS = 60 if FULL else 6
EVERY_S = 2.0
ROUNDS = 20 if FULL else 2
CLIENTS = {"keep": 2, "new": 1, "grpc": 1, "stream": 1}


def started(plane: DataPlane, tmp_path: Path) -> DataPlane:
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start("--grpc-port", "0")
    plane.settled()
    return plane


def spare_is_ready(plane: DataPlane) -> bool:
    """Two workers that serve, and a third that has loaded and idles."""
    assert plane.process is not None
    pids = {one.pid for one in plane.statuses()}
    children = Path(f"/proc/{plane.process.pid}/task/{plane.process.pid}/children").read_text().split()
    spares = [int(pid) for pid in children if int(pid) not in pids]
    return len(pids) == 2 and len(spares) == 1 and _maps(spares[0], ".onnx") | _maps(spares[0], "onnxruntime")


def _maps(pid: int, what: str) -> bool:
    try:
        return what in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def kill(plane: DataPlane, pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def judge(plane: DataPlane, load: Load, figures: Figures) -> None:
    """What was counted and logged, against what the clients saw; call it when the load is over."""
    until(lambda: len(plane.statuses()) == 2)
    ok = sum(versions_counted(plane).values())
    plane.stop()
    answered = {one.id for one in load.answers}
    logged = [one.id for one in plane.exchanges()]
    lost = len(load.lost)
    figures.note("answers", len(answered))
    figures.count("refused connects", load.refused, at_most=0)
    figures.count("wrong answers", len(load.failures), at_most=0)
    figures.count("held requests that were visibly reset", lost, at_least=1)
    figures.count("logged twice", len(logged) - len(set(logged)), at_most=0)
    figures.count("answered and not logged", len(answered - set(logged)), at_most=0)
    figures.count("logged, neither answered nor reset", max(len(logged) - len(answered) - lost, 0), at_most=0)
    # What was counted and not answered was reset: the counters differ from the clients' by nothing else.
    figures.count("counted, neither answered nor reset", max(ok - len(answered) - lost, 0), at_most=0)
    figures.count("answered and not counted", max(len(answered) - ok, 0), at_most=0)
    for failure in load.failures[:5]:
        print(failure)


def test_workers_killed_every_two_seconds(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    plane = started(plane_of, tmp_path)
    kills = 0
    with loaded(plane, CLIENTS) as load:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(EVERY_S)
            victims = plane.statuses()
            kill(plane, [victims[kills % len(victims)].pid])
            kills += 1
        load.wait(len(load.answers) + 100, seconds=10)
    figures.count("workers killed", kills, at_least=SECONDS // EVERY_S)
    judge(plane, load, figures)
    ends = sorted(one.ended for one in load.answers)
    figures.timed("longest gap, s", max(b - a for a, b in itertools.pairwise(ends)), at_most=1.0)
    figures.hold()


def test_all_workers_killed_at_once_leave_the_spare(plane_of: DataPlane, tmp_path: Path, figures: Figures) -> None:
    """The front dies whole: whoever connects waits for the spare and is answered."""
    plane = started(plane_of, tmp_path)
    back: list[float] = []
    with loaded(plane, CLIENTS) as load:
        for _ in range(ROUNDS):
            until(lambda: spare_is_ready(plane))
            time.sleep(1.5)
            victims = [one.pid for one in plane.statuses()]
            killed = time.monotonic()
            kill(plane, victims)
            until(lambda at=killed: bool(load.answers) and load.answers[-1].begun > at)
            back.append(next(one.ended for one in load.answers if one.begun > killed) - killed)
            until(lambda gone=victims: not set(gone) & {one.pid for one in plane.statuses()})
    figures.count("times all workers were killed", len(back), at_least=ROUNDS)
    judge(plane, load, figures)
    figures.timed("serving again, s", max(back), at_most=1.0)
    figures.hold()
