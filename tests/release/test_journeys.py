"""Whole rollouts on real processes under load: found and taken back, promoted, killed, adopted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from home_for_tests import Client, Control, Home, local

from penstock.release.targets.local import LocalTarget

pytestmark = pytest.mark.serial

STABLE, RETRAINED, BROKEN = 0.0, 0.3, -6.0
"""Biases of three versions; the last answers fast, status 200, and nearly the same wrong score to everybody."""
GUARDS = {"min_units": 60, "latency_s": 5.0}


class Stage:
    """A home whose first version is live, a control loop over it, and two clients that ask without a pause."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder, STABLE, RETRAINED, BROKEN)
        self.target: LocalTarget = local(self.home)
        self.control = Control(self.home, self.target)
        self.clients: list[Client] = []

    def open(self, *, keys: int = 3_000) -> None:
        self.home.wish(1)
        self.control.until(self.control.ended(1))
        self.clients = [Client(self.target.observe().url, keys=keys, seed=number) for number in range(2)]
        for client in self.clients:
            client.start()

    def close(self) -> None:
        for client in self.clients:
            client.stop()
        self.target.remove()

    def answers(self) -> list[str]:
        return [version for client in self.clients for version in client.versions]

    def failed(self) -> list[str]:
        return [failure for client in self.clients for failure in client.failed]

    def marks(self) -> list[int]:
        return [len(client.versions) for client in self.clients]

    def since(self, marks: list[int]) -> list[str]:
        """Answers after a mark; one of each client may have been on its way then."""
        return [v for client, mark in zip(self.clients, marks, strict=True) for v in client.versions[mark + 1 :]]

    def outcome(self, revision: int) -> str:
        return self.home.registry.state().endpoint("e").settled[revision].outcome


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path / "home")
    try:
        made.open()
        yield made
    finally:
        made.close()


def test_a_silent_fault_is_rolled_back_by_itself(stage: Stage, record_property: pytest.RecordProperty) -> None:
    started, before = time.monotonic(), stage.marks()
    release = stage.home.wish(3, "canary", **GUARDS)
    stage.control.until(lambda: stage.control.phase() == "rolled_back")
    seconds = time.monotonic() - started
    answers = stage.since(before)
    stage.control.until(stage.control.ended(release.revision))
    clean = stage.marks()
    time.sleep(0.5)

    record_property("requests", len(answers))
    record_property("wrong_answers", answers.count("3"))
    record_property("seconds", round(seconds, 2))
    print(f"silent fault: {answers.count('3')} wrong of {len(answers)} answers, {seconds:.2f} s from wish to rollback")
    assert stage.outcome(release.revision) == "rolled_back"
    assert "shift" in stage.home.registry.state().endpoint("e").settled[release.revision].reason
    assert 0 < answers.count("3") < 400
    assert stage.failed() == []
    assert set(stage.since(clean)) == {"1"}


def test_a_good_candidate_is_promoted_on_evidence(stage: Stage) -> None:
    release = stage.home.wish(2, "canary", **GUARDS)
    stage.control.until(stage.control.ended(release.revision), seconds=90)
    steps = stage.home.registry.state().endpoint("e").steps_of(release.revision)
    assert stage.outcome(release.revision) == "live"
    assert [step.phase for step in steps] == ["warming", "shifting", "shifting", "live"]
    assert steps[-1].measured["error.supporting"] >= 20
    marks = stage.marks()
    time.sleep(0.3)
    assert set(stage.since(marks)) == {"2"}
    assert stage.failed() == []


def test_a_rollback_is_quick_and_drops_nothing(stage: Stage, record_property: pytest.RecordProperty) -> None:
    released = stage.home.wish(2)
    stage.control.until(stage.control.ended(released.revision))
    seconds = []
    for number in range(6):
        started = time.monotonic()
        back = stage.home.roll_back()
        stage.control.until(stage.control.ended(back.revision))
        seconds.append(time.monotonic() - started)
        marks = stage.marks()
        time.sleep(0.2)
        assert set(stage.since(marks)) == {"1" if number % 2 == 0 else "2"}
    record_property("seconds", round(max(seconds), 3))
    print(f"rollback: at most {max(seconds):.3f} s until every worker answers by it, of {len(seconds)}")
    assert max(seconds) < 5.0
    assert stage.failed() == []


def test_the_control_plane_is_killed_and_another_adopts(stage: Stage) -> None:
    script = Path(__file__).parent / "control_for_tests.py"
    process = subprocess.Popen([sys.executable, str(script), str(stage.home.folder)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"turning\n"
        workers = {worker.pid for worker in stage.target.observe().workers}
        release = stage.home.wish(3, "canary", **(GUARDS | {"alpha": 1e-12}))
        end = time.monotonic() + 30
        while not stage.home.registry.state().endpoint("e").steps_of(release.revision):
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()

    before = len(stage.answers())
    time.sleep(1.0)
    assert len(stage.answers()) > before + 50
    adopting = Control(stage.home, local(stage.home))
    adopting.until(adopting.ended(release.revision), seconds=60)
    assert stage.outcome(release.revision) == "rolled_back"
    assert {worker.pid for worker in stage.target.observe().workers} == workers
    assert stage.failed() == []
