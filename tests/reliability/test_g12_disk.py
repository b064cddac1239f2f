"""G12: the disk is full, read only, or fails to sync, while predictions go on: what is lost is counted, what was
promised is kept, and all is well again by itself."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import signal
import struct
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataplane_for_tests import DataPlane, route, until
from figures_for_tests import FULL, Figures
from packages_for_tests import linear_package
from penstock.records import Limits
from tests.reliability.clients_for_tests import BODY, counted, loaded

pytestmark = pytest.mark.serial

SECONDS = 20.0 if FULL else 1.0
ENOUGH = int(100 * SECONDS)
"""Predictions, however long a slow machine takes for them."""
HERE = Path(__file__).parent
STRICT = "/v2/models/strict/infer"
FAULTS = {
    "disk full": (errno.ENOSPC, 0, errno.ENOSPC),
    "fsync fails": (0, errno.EIO, 0),
    "read only": (errno.EROFS, errno.EROFS, errno.EROFS),
    "every write fails": (errno.EIO, errno.EIO, 0),
}


class Disk:
    """A folder whose disk fails when it is told to."""

    def __init__(self, shim: Path, switch: Path) -> None:
        switch.write_bytes(bytes(mmap.PAGESIZE))
        self.environment = {"LD_PRELOAD": str(shim), "DF_SWITCH": str(switch)}
        with switch.open("r+b") as file:
            self._faults = mmap.mmap(file.fileno(), 12)

    def fail(self, faults: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._faults[:] = struct.pack("<3i", *faults)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        reason = "the shim needs gcc: apt-get install gcc"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    built = tmp_path_factory.mktemp("shim") / "disk_faults.so"
    subprocess.run([compiler, "-O2", "-w", "-shared", "-fPIC", "-o", built, HERE / "disk_faults.c", "-ldl"], check=True)
    return built


@pytest.fixture
def disk(shim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Whatever a data plane writes from now on lies on it."""
    made = Disk(shim, tmp_path / "switch")
    for name, value in {**made.environment, "DF_PREFIX": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def plane(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataPlane:
    """``linear`` is logged as usual, ``strict`` answers nothing that is not on disk."""
    (tmp_path / "home").mkdir()
    made = DataPlane(tmp_path / "home")
    digest = made.add(linear_package, tmp_path / "package")
    made.write(route("linear", digest), route("strict", digest, limits=Limits(log="strict")))
    made.start()
    monkeypatch.delenv("LD_PRELOAD")
    try:
        made.settled()
        yield made  # type: ignore[misc]
    finally:
        disk.fail()
        made.stop()


def lost(plane: DataPlane) -> int:
    """Exchanges that the disk did not take, as the server counts them."""
    text = plane.ask("GET", "/metrics").body.decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return int(sum(one.value for one in samples if one.name == "penstock_log_lost_total"))


def promised(plane: DataPlane, seconds: float) -> tuple[Counter[int], list[str]]:
    """Ask the strict endpoint: statuses, and the ids of what was answered."""
    statuses: Counter[int] = Counter()
    ids = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = plane.ask("POST", STRICT, BODY)
        statuses[answer.status] += 1
        if answer.status == 200:
            ids.append(answer.headers["x-prediction-id"])
        time.sleep(0.02)
    return statuses, ids


@pytest.mark.parametrize("fault", FAULTS)
def test_predictions_go_on_and_losses_are_counted(plane: DataPlane, disk: Disk, figures: Figures, fault: str) -> None:
    pids = [one.pid for one in plane.statuses()]
    with loaded(plane, {"keep": 2, "new": 1}, pause_s=0.002) as load:
        _, before = promised(plane, 0.5)
        disk.fail(FAULTS[fault])
        statuses, kept = promised(plane, SECONDS)
        load.wait(ENOUGH, seconds=60)
        disk.fail()
        healed = time.monotonic()
        until(lambda: plane.ask("POST", STRICT, BODY).status == 200, seconds=20)
        recovery_s = time.monotonic() - healed
        until(lambda: len(load.answers) > 0)
        mark = time.monotonic()
        _, after = promised(plane, 0.5)
    until(lambda: all(one.snapshot == plane.number for one in plane.statuses()))
    lost_there = lost(plane)
    total = sum(counted(plane).values())
    replaced = [one.pid for one in plane.statuses()] != pids
    plane.stop()
    logged = [one.id for one in plane.exchanges()]
    late = {one.id for one in load.answers if one.begun > mark}
    figures.count(f"{fault}: failed predictions", len(load.failures) + len(load.lost), at_most=0)
    figures.count(f"{fault}: predictions meanwhile", len(load.answers), at_least=ENOUGH)
    figures.count(
        f"{fault}: strict, neither answered nor 503", sum(statuses.values()) - statuses[200] - statuses[503], at_most=0
    )
    figures.count(f"{fault}: strict, refused meanwhile", statuses[503], at_least=1)
    figures.count(f"{fault}: acknowledged and not in the log", len({*before, *kept, *after} - set(logged)), at_most=0)
    figures.count(f"{fault}: acknowledged while nothing could be durable", len(kept), at_most=0)
    figures.count(f"{fault}: losses counted differ from losses", abs(total - len(logged) - lost_there), at_most=0)
    figures.note(f"{fault}: losses", lost_there)
    figures.count(f"{fault}: not logged after recovery", len(late - set(logged)), at_most=0)
    figures.count(f"{fault}: workers replaced", int(replaced), at_most=0)
    figures.timed(f"{fault}: recovery, s", recovery_s, at_most=5.0)
    print([*load.failures, *load.lost][:3], dict(statuses))
    figures.hold()


@pytest.mark.parametrize("fault", ["disk full", "read only"])
def test_a_worker_that_dies_is_replaced(plane: DataPlane, disk: Disk, figures: Figures, fault: str) -> None:
    disk.fail(FAULTS[fault])
    for one in plane.statuses():
        os.kill(one.pid, signal.SIGKILL)
        time.sleep(1.0)
    with loaded(plane, {"keep": 2, "new": 1}, pause_s=0.002) as load:
        time.sleep(SECONDS)
        load.wait(100, seconds=60)
    ready = 0
    with suppress(OSError):
        ready = plane.ask("GET", "/v2/health/ready").status
    disk.fail()
    figures.count(f"{fault} and workers killed: failed predictions", len(load.failures) + len(load.lost), at_most=0)
    figures.count(f"{fault} and workers killed: predictions", len(load.answers), at_least=100)
    figures.count(f"{fault} and workers killed: not ready", int(ready != 200), at_most=0)
    print([*load.failures, *load.lost][:3])
    figures.hold()


def test_a_switch_on_a_full_disk(plane: DataPlane, disk: Disk, figures: Figures, tmp_path: Path) -> None:
    """The run folder may lie elsewhere: workers that cannot write what they do still do it."""
    digest = plane.add(linear_package, tmp_path / "next", bias=1.0)
    disk.fail(FAULTS["disk full"])
    with loaded(plane, {"keep": 2, "new": 1}, pause_s=0.002) as load:
        plane.write(route("linear", digest, version=2))
        until(lambda: plane.ask("POST", "/v2/models/linear/infer", BODY).headers["x-model-version"] == "2", seconds=20)
        time.sleep(0.5)
        mark = time.monotonic()
        time.sleep(0.5)
    late = Counter(one.version for one in load.answers if one.begun > mark)
    disk.fail()
    plane.settled()
    figures.count("switched on a full disk: failed predictions", len(load.failures) + len(load.lost), at_most=0)
    figures.count("switched on a full disk: answers from before", late["1"], at_most=0)
    print([*load.failures, *load.lost][:3], late)
    figures.hold()
