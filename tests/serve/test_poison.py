"""G16, short: twelve models that each break in a way of their own, beside one that goes on answering.

The long form of the same (`PENSTOCK_FULL=1`) lives in tests/reliability.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.reliability.models_for_tests import number, python_package

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.records import Batching, Limits, Route

pytestmark = pytest.mark.serial

GOOD = "/v2/models/good/infer"
GOOD_BODY = v2([[1.0, 2.0, 3.0, 4.0]])
WELL = 7.0
BAD = 1.0

# What each does when it is asked for a 1; anything else it doubles.
RUNS = {
    "hang": "while True: time.sleep(600)",
    "segfault": "ctypes.string_at(0)",
    "exit": "os._exit(3)",
    "memory": "held = [bytearray(1 << 30) for _ in range(64)]",
    "forks": "[os.fork() for _ in range(10_000)]",
    "threads": "[threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(10_000)]",
    "files": "held = [open('/dev/null') for _ in range(100_000)]",
    "flood": "[os.write(2, b'x' * 65536) for _ in range(2_000)]",
    "large": "return numpy.zeros(1 << 24)",
    "shape": "return numpy.zeros((1, 1, 1))",
}
# What each does when it is loaded.
LOADS = {"loading hang": "time.sleep(600)", "loading crash": "os._exit(3)"}
CRASHES = {"hang", "segfault", "exit", "memory", "large"}
"""Those that take their process with them."""

SOURCE = """
import ctypes, os, threading, time
import numpy

class Poison:
    def predict(self, rows):
        if rows[0, 0] == 1: {runs}
        return rows[:, 0] * 2

    def __getstate__(self):
        return dict(loaded=True)

    def __setstate__(self, state):
        {loads}
"""


def poison(folder: Path, *, runs: str = "pass", loads: str = "pass", name: str) -> str:
    source = SOURCE.format(runs=runs, loads=loads)
    if runs.startswith("while"):
        source = source.replace("import numpy", "import numpy, signal", 1)
        source = source.replace(
            "while True:", "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n        while rows[0, 0] == 1:"
        )
    return python_package(folder, source, name=name)


class Traffic(threading.Thread):
    """Asks the good one again and again."""

    def __init__(self, plane: DataPlane) -> None:
        super().__init__()
        self.answered = 0
        self.failed: list[Answered] = []
        self.over = threading.Event()
        self._plane = plane

    def run(self) -> None:
        while not self.over.is_set():
            answer = self._plane.ask("POST", GOOD, GOOD_BODY)
            if answer.status == 200:
                self.answered += 1
            else:
                self.failed.append(answer)
            time.sleep(0.005)


@contextmanager
def traffic(plane: DataPlane) -> Iterator[Traffic]:
    asking = Traffic(plane)
    asking.start()
    try:
        yield asking
    finally:
        asking.over.set()
        asking.join()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[DataPlane]:
    plane = DataPlane(tmp_path)
    yield plane
    plane.stop()


def good(plane: DataPlane, folder: Path) -> Route:
    return route("good", plane.add(linear_package, folder / "good"))


def asked(plane: DataPlane, name: str, value: float) -> Answered:
    return plane.ask("POST", f"/v2/models/{name}/infer", number(value))


def test_ten_that_break_when_they_are_asked(plane: DataPlane, tmp_path: Path) -> None:
    limits = Limits(batching=Batching(hang_s=0.5))
    digests = {name: plane.add(poison, tmp_path / name, runs=runs, name=name) for name, runs in RUNS.items()}
    plane.write(good(plane, tmp_path), *[route(name, digest, limits=limits) for name, digest in digests.items()])
    plane.start("--spares", "0", workers=1)
    plane.settled(workers=1)
    before = {one.pid for one in plane.statuses()}
    with traffic(plane) as others:
        for name in RUNS:
            assert asked(plane, name, WELL).json["outputs"][0]["data"] == [14.0], name
            broken = asked(plane, name, BAD)
            assert broken.status in (500, 503, 504) or (name, broken.status) == ("flood", 200), name
            replaced = time.monotonic()
            until(lambda name=name: asked(plane, name, WELL).status == 200)
            assert time.monotonic() - replaced < 5.0, f"{name} was not replaced"
    assert others.answered > 20
    assert others.failed == []
    assert {one.pid for one in plane.statuses()} == before, "the worker itself lives on"

    for name in sorted(CRASHES):
        for _ in range(3):
            broken = asked(plane, name, BAD)
        assert (broken.status, broken.json["code"]) == (503, "runtime.resting"), name
        assert broken.headers["retry-after"] == "1"
        (entry,) = [one for one in plane.ask("POST", "/v2/repository/index").json if one["name"] == name]
        assert (entry["state"], plane.ask("GET", f"/v2/models/{name}/ready").status) != ("READY", 200)
        assert entry["reason"].startswith("rests for")
    until(lambda: digests["shape"] not in plane.statuses()[0].troubles and bool(plane.statuses()[0].troubles))
    (why, *_) = plane.statuses()[0].troubles.values()
    assert why.startswith("rests for")
    assert plane.ask("POST", GOOD, GOOD_BODY).status == 200


@pytest.mark.parametrize("name", LOADS)
def test_one_that_breaks_when_it_is_loaded(plane: DataPlane, tmp_path: Path, name: str) -> None:
    well = good(plane, tmp_path)
    plane.write(well)
    plane.start("--spares", "0", workers=1)
    plane.settled(workers=1)
    with traffic(plane) as others:
        digest = plane.add(poison, tmp_path / "bad", loads=LOADS[name], name="bad")
        plane.write(well, route("bad", digest))
        if name == "loading crash":
            until(lambda: digest in plane.statuses()[0].failed)
            assert "exit status 3" in plane.statuses()[0].failed[digest]
        time.sleep(1.0)
        assert asked(plane, "bad", WELL).status == 503
    assert others.answered > 20
    assert others.failed == []
    assert plane.ask("GET", "/v2/health/live").status == 200
    started = time.monotonic()
    plane.stop()
    assert time.monotonic() - started < 10, "a load that hangs holds up nothing"
