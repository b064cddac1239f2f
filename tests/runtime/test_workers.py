"""Processes that are lost while they load."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import cast

import pytest

from penstock.errors import ModelFailed
from penstock.runtime import workers
from penstock.runtime.limits import Quota
from penstock.runtime.process import Confined
from penstock.runtime.workers import Recipe, SandboxedModel, Spare, Workers

RECIPE = Recipe("m", None, Path(), None, Quota(), 10.0)


AUTOGROUP = Path("/proc/self/autogroup")


def weighs_sessions() -> bool:
    """Whether a session's share can be set here; some kernels have the file and nothing in it."""
    return AUTOGROUP.exists() and "nice" in AUTOGROUP.read_text()


class Loaded:
    """A process that never runs anything."""

    pid = 1
    busy_since = 0.0
    killed = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def stand_back(self) -> None:
        self.told.append("stand back")

    def alive(self) -> bool:
        return True

    def resident_bytes(self) -> int:
        return 0

    def step_up(self) -> None:
        self.told.append("step up")

    def end(self) -> ModelFailed:
        return ModelFailed("it ended")


def starting(monkeypatch: pytest.MonkeyPatch, *codes: str) -> Workers:
    """One that was loaded once; of its next loads the first ones fail so."""
    ends = ["", *codes]
    own = RECIPE._replace(name=str(codes))

    def start(recipe: Recipe, _: object) -> SandboxedModel:
        # The spare of a test before may still be starting.
        code = ends.pop(0) if recipe is own and ends else ""
        if code:
            raise ModelFailed("it died while it was loaded", code=code)
        return cast("SandboxedModel", Loaded())

    monkeypatch.setattr(workers, "start", start)
    one = Workers(Spare(own))
    one.current(time.monotonic() + 5)
    one.discard()
    return one


def test_who_is_killed_while_it_loads_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    one = starting(monkeypatch, *["runtime.killed"] * 4)
    assert one.current(time.monotonic() + 5).pid == 1


@pytest.mark.parametrize("code", ["runtime.killed", "runtime.load_failed"])
def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    one = starting(monkeypatch, *[code] * 100)
    with pytest.raises(ModelFailed) as caught:
        one.current(time.monotonic() + 5)
    assert caught.value.code == code


def test_who_loads_stands_back_until_somebody_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    process, gate = Loaded(), Event()

    def start(recipe: Recipe, began: Callable[[Loaded], None]) -> Loaded:
        del recipe
        began(process)
        gate.wait(5)
        return process

    monkeypatch.setattr(workers, "start", start)
    monkeypatch.setattr(workers, "_QUIETLY_S", 0.1)
    spare = Spare(RECIPE)
    taken: list[object] = []
    taking = Thread(target=lambda: taken.append(spare.take(time.monotonic() + 5)))
    taking.start()
    time.sleep(0.05)
    assert process.told == ["stand back"]
    time.sleep(0.2)
    assert process.told == ["stand back", "step up"]
    gate.set()
    taking.join()
    assert taken == [process]
    assert process.told[:3] == ["stand back", "step up", "step up"], "who answers has its usual share"


@pytest.mark.skipif(not weighs_sessions(), reason="this kernel weighs no sessions")
def test_a_session_can_stand_back_and_step_up_again() -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    mine, theirs = socket.socketpair()
    try:
        confined = Confined(process, mine, theirs)
        confined.stand_back()
        assert "nice 5" in Path(f"/proc/{process.pid}/autogroup").read_text()
        confined.step_up()
        assert "nice 0" in Path(f"/proc/{process.pid}/autogroup").read_text()
        assert "nice 0" in AUTOGROUP.read_text()
    finally:
        process.kill()
        process.wait()
    confined.stand_back()
    confined.step_up()
