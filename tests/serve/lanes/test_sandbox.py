"""The sandbox lane: batches without a thread, and everything that can go wrong on the other side of the walls."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
from tests.reliability.models_for_tests import python_package

from penstock.errors import DeadlineExceeded, ModelFailed, NotReady, PenstockError
from penstock.packages.read import open_package
from penstock.records import Batching
from penstock.runtime.engine import open_engine
from penstock.runtime.engines.python import PythonEngine
from penstock.serve.lane import Job, Lane, Result, open_lane
from penstock.serve.lanes.sandbox import SandboxLane
from penstock.serve.pace import Pace

pytestmark = pytest.mark.serial

MOODY = """
import ctypes, os, time

class Moody:
    def predict(self, rows):
        for asked in rows[:, 0]:
            if asked == 1: time.sleep(600)
            if asked == 2: ctypes.string_at(0)
            if asked == 3: os._exit(3)
            if asked == 4: raise KeyError("secret")
            if asked == 5: time.sleep(0.5)
            if asked == 6: return rows[:0, 0]
        return rows[:, 0] * 2
"""
QUICK = Pace([(1, 1e-4), (64, 2e-4)])


class Asked(Job):
    __slots__ = ("future",)

    def __init__(self, *values: float, within_s: float = 0.0) -> None:
        deadline = time.perf_counter() + within_s if within_s else 0.0
        super().__init__({"X": np.array(values).reshape(-1, 1)}, len(values), deadline)
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def done(self, result: Result) -> None:
        self.future.set_result(result)

    async def answer(self) -> list[float]:
        result = await asyncio.wait_for(self.future, 30)
        if isinstance(result, PenstockError):
            raise result
        return list(result["prediction"])


def submitted(lane: Lane, *jobs: Asked) -> list[Asked]:
    for job in jobs:
        lane.submit(job, 1000)
    return list(jobs)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come")


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moody")
    python_package(folder, MOODY, name="moody")
    return folder


@pytest.fixture
async def lane(moody: Path) -> AsyncIterator[SandboxLane]:
    package = open_package(moody)
    engine = await asyncio.to_thread(open_engine, package)
    lane = open_lane(engine, package.manifest.signature, pace=QUICK)
    assert isinstance(lane, SandboxLane)
    yield lane
    lane.close()
    await until(lambda: engine_of(lane).pid == 0)


def engine_of(lane: SandboxLane) -> PythonEngine:
    assert isinstance(lane.engine, PythonEngine)
    return lane.engine


async def test_what_waits_is_run_together_and_each_gets_its_own_rows(lane: SandboxLane) -> None:
    jobs = submitted(lane, *[Asked(10.0 * n, 10.0 * n + 7) for n in range(10, 30)])
    for n, job in enumerate(jobs, 10):
        assert await job.answer() == [20.0 * n, 20.0 * n + 14]
    assert lane.tally.rows == 40
    assert lane.tally.runs <= 3


async def test_a_large_tensor_goes_there_and_back(lane: SandboxLane) -> None:
    rows = np.arange(100.0, 200_100.0)
    (job,) = submitted(lane, Asked(*rows))
    np.testing.assert_array_equal(await job.answer(), 2 * rows)


async def test_what_the_model_raises_fails_its_own_request_only(lane: SandboxLane) -> None:
    good, bad, other = submitted(lane, Asked(10.0), Asked(4.0), Asked(11.0))
    assert await good.answer() == [20.0]
    assert await other.answer() == [22.0]
    with pytest.raises(ModelFailed, match="KeyError"):
        await bad.answer()
    (short,) = submitted(lane, Asked(6.0))
    with pytest.raises(ModelFailed, match="number of rows"):
        await short.answer()


async def test_a_kill_under_a_request_is_seen_by_nobody(lane: SandboxLane) -> None:
    jobs = submitted(lane, Asked(5.0), Asked(12.0))
    await asyncio.sleep(0.1)
    os.kill(engine_of(lane).pid, signal.SIGKILL)
    assert await jobs[0].answer() == [10.0]
    assert await jobs[1].answer() == [24.0]
    assert engine_of(lane).replays == 1
    assert lane.trouble() == ""


async def test_who_comes_while_a_slow_one_is_loaded_waits_for_it(tmp_path: Path) -> None:
    loads = "def __getstate__(self): return 1\n\n    def __setstate__(self, _): time.sleep(1.6)\n\n    "
    python_package(tmp_path, MOODY.replace("def predict", loads + "def predict"), name="heavy")
    package = open_package(tmp_path)
    engine = await asyncio.to_thread(open_engine, package)
    lane = open_lane(engine, package.manifest.signature, pace=QUICK)
    os.kill(engine_of(lane)._workers.template.pid, signal.SIGKILL)  # and what was forked from it
    (first,) = submitted(lane, Asked(10.0))
    await asyncio.sleep(1.3)
    (second,) = submitted(lane, Asked(11.0))
    assert await first.answer() == [20.0]
    assert await second.answer() == [22.0]
    lane.close()
    await until(lambda: engine_of(lane).pid == 0)


async def test_an_idle_death_is_mended_before_anybody_asks(lane: SandboxLane) -> None:
    for _ in range(4):
        pid = engine_of(lane).pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: engine_of(lane).pid not in (0, pid))
        (job,) = submitted(lane, Asked(13.0))
        assert await job.answer() == [26.0]
    assert engine_of(lane).replays == 0
    assert lane.trouble() == "", "who was killed from outside did not crash"


@pytest.mark.parametrize("poison", [2.0, 3.0])
async def test_who_shares_a_run_with_poison_is_answered(lane: SandboxLane, poison: float) -> None:
    good, bad, other = submitted(lane, Asked(10.0), Asked(poison), Asked(11.0))
    assert await good.answer() == [20.0]
    with pytest.raises(ModelFailed) as caught:
        await bad.answer()
    assert caught.value.code == "runtime.died"
    assert await other.answer() == [22.0]
    assert engine_of(lane).deaths == 2


async def test_by_the_third_crash_it_rests_and_says_why(lane: SandboxLane) -> None:
    for _ in range(2):
        (bad,) = submitted(lane, Asked(3.0))
        with pytest.raises((ModelFailed, NotReady)):
            await bad.answer()
    assert engine_of(lane).deaths == 3
    assert "crashed" in lane.trouble()
    (refused,) = submitted(lane, Asked(10.0))
    with pytest.raises(NotReady, match="crashed"):
        await refused.answer()
    await asyncio.sleep(1.1)
    (job,) = submitted(lane, Asked(10.0))
    assert await job.answer() == [20.0]


async def test_a_hang_is_ended_and_who_waited_behind_it_answered(lane: SandboxLane) -> None:
    engine_of(lane).timeout_s = 0.5
    pid = engine_of(lane).pid
    (hung,) = submitted(lane, Asked(1.0))
    await asyncio.sleep(0.05)
    (behind,) = submitted(lane, Asked(10.0))
    with pytest.raises(DeadlineExceeded):
        await hung.answer()
    assert await behind.answer() == [20.0]
    assert engine_of(lane).pid != pid


async def test_a_request_whose_caller_went_is_stopped_and_its_process_goes_on(lane: SandboxLane) -> None:
    pid = engine_of(lane).pid
    (gone,) = submitted(lane, Asked(1.0))
    await asyncio.sleep(0.05)
    (behind, too) = submitted(lane, Asked(10.0), Asked(1.0))
    gone.cancelled = too.cancelled = True
    assert await behind.answer() == [20.0]
    with pytest.raises(PenstockError) as caught:
        await gone.answer()
    assert caught.value.code == "serve.cancelled"
    assert (engine_of(lane).pid, engine_of(lane).deaths) == (pid, 0)
    assert lane.tally.cancelled == 2
    assert lane.tally.rows == 2, "the one that waited never ran"


async def test_a_request_whose_time_is_over_is_told_and_stopped(lane: SandboxLane) -> None:
    pid = engine_of(lane).pid
    (late,) = submitted(lane, Asked(1.0, within_s=0.1))
    with pytest.raises(DeadlineExceeded):
        await late.answer()
    (job,) = submitted(lane, Asked(14.0))
    assert await job.answer() == [28.0]
    assert (engine_of(lane).pid, engine_of(lane).deaths) == (pid, 0)


async def test_several_processes_run_at_one_time(lane: SandboxLane) -> None:
    lane.settle(Batching(rows=1, processes=3))
    await until(lambda: len(lane.processes()) == 3)
    started = time.monotonic()
    for job in submitted(lane, *[Asked(5.0) for _ in range(3)]):
        assert await job.answer() == [10.0]
    assert time.monotonic() - started < 1.2, "one after the other takes 1.5 s"
    lane.settle(Batching())
    assert len(lane.processes()) == 1
    (job,) = submitted(lane, Asked(15.0))
    assert await job.answer() == [30.0]


async def test_closing_lets_the_last_ones_finish(moody: Path) -> None:
    package = open_package(moody)
    engine = await asyncio.to_thread(open_engine, package)
    lane = open_lane(engine, package.manifest.signature, pace=QUICK)
    jobs = submitted(lane, Asked(5.0), Asked(16.0))
    lane.close()
    assert await jobs[0].answer() == [10.0]
    assert await jobs[1].answer() == [32.0]
    await until(lambda: engine.pid == 0)  # type: ignore[attr-defined]
