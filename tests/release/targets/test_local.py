"""The local target and the files between it and the data plane."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from home_for_tests import Control, Home, local

from dataplane_for_tests import until
from penstock.errors import Conflict, TargetFailed
from penstock.records import Route, Snapshot, decode
from penstock.release.target import Wish
from penstock.release.targets.local import LocalTarget, SupervisorNote

NOTHING = Wish()
EMPTY = Wish(routes=(Route(endpoint="e", release=1, variants=()),))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    made = LocalTarget(tmp_path / "home", workers=1, options=("--spares", "0"))
    yield made
    made.remove()


def snapshot(target: LocalTarget) -> Snapshot:
    return decode((target._run / "snapshot.json").read_bytes(), Snapshot)


def test_an_empty_home_runs_nothing(target: LocalTarget) -> None:
    status = target.observe()
    assert (status.number, status.running, status.settled, status.ready, status.url) == (0, False, False, (), "")


def test_the_same_wish_is_written_once(target: LocalTarget) -> None:
    assert target.apply(NOTHING) == 1
    assert target.apply(NOTHING) == 1
    assert snapshot(target).number == 1
    assert not target.observe().running


def test_a_decision_on_an_old_look_is_refused(target: LocalTarget) -> None:
    target.apply(NOTHING)
    with pytest.raises(Conflict):
        target.apply(EMPTY, expect=0)
    assert snapshot(target).routes == ()


def test_a_process_that_only_got_the_number_is_not_the_supervisor(target: LocalTarget) -> None:
    target.apply(NOTHING)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (target._run / "supervisor.json").write_text(f'{{"pid": {other.pid}, "host": "127.0.0.1", "port": 1}}')
        assert not target.observe().running
        target.remove()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("name", ["snapshot.json", "supervisor.json"])
def test_half_a_file_is_no_file(target: LocalTarget, name: str) -> None:
    target.apply(NOTHING)
    (target._run / name).write_text('{"pid": 1, "num')
    assert not target.observe().running
    assert target.apply(NOTHING) >= 1


def test_a_run_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    with pytest.raises(TargetFailed, match="cannot be written"):
        LocalTarget(tmp_path / "home").apply(NOTHING)


def test_what_does_not_start_is_said(tmp_path: Path) -> None:
    broken = LocalTarget(tmp_path / "home", options=("--no-such-option",))
    with pytest.raises(TargetFailed, match=r"did not start") as refused:
        broken.apply(EMPTY)
    assert "serve.log" in refused.value.hint
    assert "no-such-option" in (tmp_path / "home" / "log" / "serve.log").read_text()


def test_started_adopted_and_started_again_where_it_was(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 0.0)
    target = local(home, workers=1)
    try:
        control = Control(home, target)
        home.wish(1)
        control.until(control.ended(1))
        first = target.observe()
        supervisor = decode((home.folder / "run" / "supervisor.json").read_bytes(), SupervisorNote)
        assert first.url.endswith(str(supervisor.port))
        assert first.ready == (home.digests[0],)

        adopting = local(home, workers=1)
        adopting.apply(first.wish)
        assert adopting.observe().workers == first.workers

        os.kill(supervisor.pid, signal.SIGKILL)
        until(lambda: not adopting.observe().running)
        assert adopting.observe().ready == ()
        again = Control(home, adopting)
        again.until(lambda: adopting.observe().settled)
        assert adopting.observe().url == first.url
        assert adopting.observe().workers[0].pid != first.workers[0].pid
    finally:
        target.remove()
    assert not target.observe().running
    assert target.observe().wish == first.wish
