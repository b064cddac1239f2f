from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from penstock.errors import DeadlineExceeded, ModelFailed, Overloaded, PenstockError
from penstock.records import Batching
from penstock.serve.lane import Job, Lane, Result, open_lane, resettled
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


def busy_lane(**batching: float) -> tuple[Lane, Doubling, Asked]:
    """A lane whose engine is held up in a run that takes half a second a row, as it thinks."""
    engine = Doubling(inline=False)
    engine.gate.clear()
    lane = open_lane(engine, STACKABLE, pace=Pace([(1, 0.5)]), batching=Batching(rows=1, **batching))
    running = Asked(1.0)
    lane.submit(running, 100)
    return lane, engine, running


async def test_who_cannot_be_answered_in_time_is_refused_at_once() -> None:
    lane, engine, running = busy_lane(wait_s=100.0)
    await asyncio.sleep(0.05)
    patient = Asked(2.0, deadline=time.perf_counter() + 5)
    lane.submit(patient, 100)
    with pytest.raises(DeadlineExceeded):
        lane.submit(Asked(3.0, deadline=time.perf_counter() + 0.9), 100)
    assert lane.tally.refused == 1
    engine.gate.set()
    assert await running.answer() == [2.0]
    assert await patient.answer() == [4.0]


async def test_the_wait_is_limited_and_the_refusal_says_how_long_it_is() -> None:
    lane, engine, running = busy_lane(wait_s=2.0)
    await asyncio.sleep(0.05)
    taken, refusal = filled(lane, "")
    assert 2 <= len(taken) <= 6, "two seconds' worth of half a second each"
    assert refusal.retry_after_s in (2, 3)
    engine.gate.set()
    for job in (running, *taken):
        await job.answer()


def of(subject: str, *values: float, priority: int = 0) -> Asked:
    job = Asked(*values)
    job.subject = subject
    job.priority = priority
    return job


def filled(lane: Lane, subject: str) -> tuple[list[Asked], Overloaded]:
    """Jobs until the first refusal, and the refusal."""
    taken: list[Asked] = []
    while len(taken) < 50:
        job = of(subject, 1.0)
        try:
            lane.submit(job, 100)
        except Overloaded as refusal:
            return taken, refusal
        taken.append(job)
    raise AssertionError("everything was taken")


async def test_a_flood_is_told_so_and_who_comes_after_it_is_served_next() -> None:
    lane, engine, running = busy_lane(wait_s=4.0)
    await asyncio.sleep(0.05)
    flood, refusal = filled(lane, "flood")
    assert refusal.code == "serve.overloaded"
    other = of("other", 2.0)
    lane.submit(other, 100)
    with pytest.raises(Overloaded) as caught:
        lane.submit(of("flood", 1.0), 100)
    assert caught.value.code == "serve.share"
    engine.gate.set()
    assert await other.answer() == [4.0]
    assert sum(job.finished for job in flood) <= 1
    for job in (running, *flood):
        await job.answer()


async def test_a_subject_cannot_fill_the_queue() -> None:
    lane, engine, running = busy_lane(wait_s=100.0)
    await asyncio.sleep(0.05)
    flood = [of("flood", 1.0) for _ in range(15)]
    for job in flood:
        lane.submit(job, 20)
    with pytest.raises(Overloaded) as caught:
        lane.submit(of("flood", 1.0), 20)
    assert caught.value.code == "serve.share"
    lane.submit(of("other", 1.0), 20)
    engine.gate.set()
    for job in (running, *flood):
        await job.answer()


async def test_priority_goes_first_and_the_lowest_is_not_forgotten() -> None:
    lane, engine, running = busy_lane(wait_s=100.0)
    await asyncio.sleep(0.05)
    order: list[int] = []
    jobs = [of("one", float(level), priority=level) for level in (8, 4, 1) for _ in range(3)]
    for job in jobs:
        lane.submit(job, 100)
        job.future.add_done_callback(lambda done, level=job.priority: order.append(level))
    engine.gate.set()
    for job in (running, *jobs):
        await job.answer()
    assert order.index(4) < len(order) - 1 - order[::-1].index(8)
    assert order[:4].count(1) == 2 or order[:5].count(1) == 3
    assert sorted(order) == [1, 1, 1, 4, 4, 4, 8, 8, 8]


async def test_an_idle_engine_may_wait_for_more_rows() -> None:
    engine = Doubling(inline=False)
    lane = open_lane(engine, STACKABLE, pace=QUICK, batching=Batching(delay_s=0.2))
    first, second = Asked(1.0), Asked(2.0)
    lane.submit(first, 10)
    await asyncio.sleep(0.03)
    lane.submit(second, 10)
    assert await first.answer() == [2.0]
    assert await second.answer() == [4.0]
    assert engine.runs == [2]


async def test_a_batch_is_no_larger_than_it_was_set() -> None:
    engine = Doubling(inline=False)
    lane = open_lane(engine, STACKABLE, pace=QUICK, batching=Batching(rows=4))
    jobs = [Asked(float(n)) for n in range(10)]
    for job in jobs:
        lane.submit(job, 100)
    for job in jobs:
        await job.answer()
    assert engine.runs == [4, 4, 2]


@pytest.mark.parametrize(("first", "then"), [("inline", "thread"), ("thread", "inline")])
async def test_another_mode_goes_on_with_the_same_engine(first: str, then: str) -> None:
    engine = Doubling(inline=True)
    lane = open_lane(engine, STACKABLE, pace=QUICK, batching=Batching(mode=first))  # type: ignore[arg-type]
    old = Asked(1.0)
    lane.submit(old, 10)
    other = resettled(lane, STACKABLE, Batching(mode=then))  # type: ignore[arg-type]
    assert (lane.inline, other.inline) == (first == "inline", then == "inline")
    new = Asked(2.0)
    other.submit(new, 10)
    assert await old.answer() == [2.0]
    assert await new.answer() == [4.0]
    await asyncio.sleep(0.05)
    assert engine.closed == 0
    assert resettled(other, STACKABLE, Batching(mode=then, rows=7)) is other  # type: ignore[arg-type]


@pytest.mark.parametrize("inline", [True, False])
async def test_whose_caller_has_gone_never_starts_and_is_counted(inline: bool) -> None:
    engine = Doubling(inline=inline)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    job = Asked(1.0)
    lane.submit(job, 10)
    job.cancelled = True
    with pytest.raises(PenstockError) as caught:
        await job.answer()
    assert caught.value.code == "serve.cancelled"
    assert (engine.runs, lane.tally.cancelled) == ([], 1)


async def test_a_loop_that_stood_still_refuses_nobody() -> None:
    engine = Doubling(inline=False)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    engine.gate.clear()
    first = Asked(1.0)
    lane.submit(first, 10)
    await asyncio.sleep(0.05)
    engine.gate.set()
    time.sleep(1.2)  # the run has ended long ago, and the loop has not heard of it yet
    second = Asked(2.0)
    lane.submit(second, 10)
    assert await first.answer() == [2.0]
    assert await second.answer() == [4.0]


async def test_who_would_wait_for_a_run_that_is_late_is_refused() -> None:
    engine = Doubling(inline=False)
    lane = open_lane(engine, STACKABLE, pace=QUICK)
    engine.gate.clear()
    first = Asked(1.0)
    lane.submit(first, 10)
    await asyncio.sleep(1.5)
    with pytest.raises(Overloaded):
        lane.submit(Asked(2.0), 10)
    engine.gate.set()
    assert await first.answer() == [2.0]
