from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from penstock.errors import DeadlineExceeded, ModelFailed, Overloaded, PenstockError
from penstock.serve.lane import Job, Result, open_lane
from penstock.serve.pace import MAX_BATCH_ROWS, Pace
from penstock.tensors import Arrays, Signature, TensorSpec

STACKABLE = Signature(inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 1)),), outputs=())
FREE = Signature(inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, -1)),), outputs=())

QUICK = Pace([(1, 1e-5), (1024, 1e-3)])
SLOW = Pace([(1, 0.5)])


class Doubling:
    """An engine that doubles, fails on negative numbers, and can be held up."""

    def __init__(self, *, inline: bool) -> None:
        self.inline = inline
        self.runs: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.closed = 0

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        self.gate.wait(5)
        self.runs.append(len(inputs["X"]))
        if (inputs["X"] < 0).any():
            raise ValueError("negative")
        return {"y": inputs["X"].ravel() * 2}

    def close(self) -> None:
        self.closed += 1


class Asked(Job):
    __slots__ = ("future",)

    def __init__(self, *values: float, deadline: float = 0.0) -> None:
        super().__init__({"X": np.array(values).reshape(-1, 1)}, len(values), deadline)
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def done(self, result: Result) -> None:
        self.future.set_result(result)

    async def answer(self) -> list[float]:
        result = await asyncio.wait_for(self.future, 10)
        if isinstance(result, PenstockError):
            raise result
        return list(result["y"])


@pytest.mark.parametrize("inline", [True, False])
async def test_each_gets_its_own_rows(inline: bool) -> None:
    engine = Doubling(inline=inline)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    jobs = [Asked(*range(n, n + 3)) for n in range(50)]
    for job in jobs:
        lane.submit(job, 100)
    for n, job in enumerate(jobs):
        assert await job.answer() == [2.0 * n, 2.0 * n + 2, 2.0 * n + 4]
    assert engine.runs == [150], "all of one turn in one run"


async def test_rows_that_break_the_model_break_their_own_request_only() -> None:
    lane = open_lane(Doubling(inline=True), STACKABLE, pace=QUICK)
    good, bad = Asked(1.0), Asked(-1.0)
    lane.submit(good, 10)
    lane.submit(bad, 10)
    assert await good.answer() == [2.0]
    with pytest.raises(ModelFailed, match="ValueError"):
        await bad.answer()


async def test_rows_of_free_size_are_not_stacked() -> None:
    engine = Doubling(inline=True)
    lane = open_lane(engine, FREE, pace=QUICK)
    jobs = [Asked(1.0), Asked(2.0)]
    for job in jobs:
        lane.submit(job, 10)
    assert [await job.answer() for job in jobs] == [[2.0], [4.0]]
    assert engine.runs == [1, 1]


async def test_a_batch_has_a_largest_size() -> None:
    engine = Doubling(inline=True)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    jobs = [Asked(*range(400)) for _ in range(6)] + [Asked(*range(3000))]
    for job in jobs:
        lane.submit(job, 10)
    for job in jobs:
        await job.answer()
    assert engine.runs == [800, 800, 800, 3000]
    assert MAX_BATCH_ROWS == 1024


async def test_a_slow_engine_leaves_the_loop() -> None:
    engine = Doubling(inline=True)
    engine.gate.clear()
    lane = open_lane(engine, STACKABLE, pace=SLOW)
    job = Asked(1.0)
    lane.submit(job, 10)
    await asyncio.sleep(0.05)
    assert not job.future.done()
    engine.gate.set()
    assert await job.answer() == [2.0]


async def test_a_turn_takes_no_more_than_the_limit() -> None:
    lane = open_lane(Doubling(inline=True), STACKABLE, pace=QUICK)
    jobs = [Asked(1.0), Asked(2.0)]
    for job in jobs:
        lane.submit(job, 2)
    with pytest.raises(Overloaded):
        lane.submit(Asked(3.0), 2)
    assert [await job.answer() for job in jobs] == [[2.0], [4.0]]


async def test_beyond_the_limit_it_is_overloaded_and_the_dead_make_room() -> None:
    engine = Doubling(inline=False)
    engine.gate.clear()
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    running = Asked(0.0)
    lane.submit(running, 2)
    await asyncio.sleep(0.05)
    waiting = [Asked(1.0), Asked(2.0)]
    for job in waiting:
        lane.submit(job, 2)
    with pytest.raises(Overloaded):
        lane.submit(Asked(3.0), 2)
    waiting[0].cancelled = True
    late = Asked(4.0)
    lane.submit(late, 2)
    assert lane.depth() == 2
    engine.gate.set()
    assert await late.answer() == [8.0]
    assert engine.runs == [1, 2], "the cancelled one never ran"


@pytest.mark.parametrize("inline", [True, False])
async def test_what_is_late_never_starts(inline: bool) -> None:
    engine = Doubling(inline=inline)
    engine.gate.set()
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    job = Asked(1.0, deadline=time.perf_counter() - 1)
    lane.submit(job, 10)
    with pytest.raises(DeadlineExceeded):
        await job.answer()
    await asyncio.sleep(0.02)
    assert engine.runs == []


async def test_a_deadline_is_told_while_the_engine_still_runs() -> None:
    engine = Doubling(inline=False)
    engine.gate.clear()
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    job = Asked(1.0, deadline=time.perf_counter() + 0.05)
    lane.submit(job, 10)
    with pytest.raises(DeadlineExceeded):
        await job.answer()
    engine.gate.set()


@pytest.mark.parametrize("inline", [True, False])
async def test_closing_lets_the_last_ones_finish(inline: bool) -> None:
    engine = Doubling(inline=inline)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    job = Asked(1.0)
    lane.submit(job, 10)
    lane.close()
    assert await job.answer() == [2.0]
    for _ in range(100):
        if engine.closed:
            break
        await asyncio.sleep(0.01)
    assert engine.closed == 1
