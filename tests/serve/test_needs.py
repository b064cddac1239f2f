"""A model that would not fit is refused with what it needs, before it hurts the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reliability.models_for_tests import python_package

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.packages.read import open_package
from penstock.serve.models import Shelf
from penstock.serve.needs import Needs

GROUPS = Path("/sys/fs/cgroup/memory")
HOG = """
import time
import numpy

class Hog:
    def __getstate__(self):
        return dict(loaded=True)

    def __setstate__(self, state):
        self.held = []
        for _ in range(40):
            self.held.append(numpy.ones(20 << 20, numpy.uint8))
            time.sleep(0.02)

    def predict(self, rows):
        return rows[:, 0] * 2
"""


async def test_what_was_measured_is_kept_and_held_against_what_is_left(tmp_path: Path) -> None:
    digest = linear_package(tmp_path / "linear")
    shelf = Shelf(None, None, tmp_path / "needs")
    assert await shelf.ensure({digest: str(tmp_path / "linear")})
    model = shelf.models[digest]
    assert Needs(tmp_path / "needs").of(digest) == model.need_bytes
    shelf.keep(set())
    Needs(tmp_path / "needs").keep(digest, 1 << 50)
    assert not await shelf.ensure({digest: str(tmp_path / "linear")})
    assert "linear needs 1073741824 MiB of memory" in shelf.failed[digest]
    Needs(tmp_path / "needs").keep(digest, 1)
    assert await shelf.ensure({digest: str(tmp_path / "linear")})
    shelf.close()


def test_nothing_is_known_of_what_nobody_measured(tmp_path: Path) -> None:
    digest = linear_package(tmp_path / "linear")
    needs = Needs(tmp_path / "needs")
    assert needs.of(digest) == 0
    needs.admit(open_package(tmp_path / "linear"), digest)
    (tmp_path / "needs").mkdir()
    (tmp_path / "needs" / digest.partition(":")[2]).write_bytes(b"torn")
    assert needs.of(digest) == 0
    Needs(None).keep(digest, 5)
    assert Needs(None).of(digest) == 0


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 500 MiB, and this process in it while it starts others."""
    group, mine = GROUPS / f"penstock-test-{os.getpid()}", _own_group()
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("500M")
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        pytest.skip("needs control groups of version one that it may write")
    try:
        yield group
    finally:
        (mine / "cgroup.procs").write_text(str(os.getpid()))
        for pid in (group / "cgroup.procs").read_text().split():
            (mine / "cgroup.procs").write_text(pid)
        subprocess.run([sys.executable, "-c", "import os, sys; os.rmdir(sys.argv[1])", str(group)], check=False)


def _own_group() -> Path:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    (path,) = (line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")
    return GROUPS / path.lstrip("/")


@pytest.mark.serial
def test_one_that_outgrows_a_small_machine_is_refused_and_the_others_answer(small_group: Path, tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    good = route("good", plane.add(linear_package, tmp_path / "good"))
    plane.write(good)
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        (worker,) = plane.statuses()
        digest = plane.add(python_package, tmp_path / "hog", source=HOG, name="hog")
        plane.write(good, route("hog", digest))
        until(lambda: digest in plane.statuses()[0].failed)
        (after,) = plane.statuses()
        assert "hog needs at least" in after.failed[digest]
        assert "MiB are left for it" in after.failed[digest]
        assert after.pid == worker.pid
        assert worker.needs[good.variants[0].digest] > 0
        body = v2([[1.0, 2.0, 3.0, 4.0]])
        assert plane.ask("POST", "/v2/models/good/infer", body).status == 200
        kills = (small_group / "memory.oom_control").read_text()
        assert "oom_kill 0" in kills
    finally:
        plane.stop()
