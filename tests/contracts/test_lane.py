"""What every way of running owes: each job answered once, by its own rows, in time or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tests.reliability.models_for_tests import python_package

from packages_for_tests import linear_package
from penstock.adapters import TABLE, load
from penstock.errors import DeadlineExceeded, Overloaded, PenstockError
from penstock.packages.read import open_package
from penstock.records import Batching
from penstock.runtime.engine import open_engine
from penstock.serve.lane import Job, Lane, Result
from penstock.serve.pace import Pace

DOUBLING = """
class Doubling:
    def predict(self, rows):
        return rows[:, 0] * 2
"""


class Counted(Job):
    """A job that knows how often it was told."""

    __slots__ = ("future", "told")

    def __init__(self, inputs: np.ndarray, deadline: float = 0.0) -> None:
        super().__init__({"X": inputs}, len(inputs), deadline)
        self.told = 0
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def done(self, result: Result) -> None:
        self.told += 1
        self.future.set_result(result)

    async def answer(self) -> np.ndarray:
        result = await asyncio.wait_for(self.future, 20)
        if isinstance(result, PenstockError):
            raise result
        return next(iter(reversed(result.values())))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package for each lane: code of its own needs the sandbox, a graph does not."""
    folder = tmp_path_factory.mktemp("lanes")
    linear_package(folder / "graph")
    python_package(folder / "code", DOUBLING, name="doubling")
    return {name: folder / ("code" if name == "sandbox" else "graph") for name in TABLE["lane"]}


@pytest.fixture(params=sorted(TABLE["lane"]))
async def lane(request: pytest.FixtureRequest, folders: dict[str, Path]) -> AsyncIterator[Lane]:
    engine = await asyncio.to_thread(open_engine, open_package(folders[request.param]))
    lane: Lane = load("lane", request.param)(engine, batchable=True, pace=Pace([(1, 1e-5), (64, 1e-4)]))
    yield lane
    lane.close()
    await asyncio.sleep(0.05)


def rows(lane: Lane, count: int, seed: int = 0) -> np.ndarray:
    width, dtype = (1, np.float64) if type(lane).__name__ == "SandboxLane" else (4, np.float32)
    return np.random.default_rng(seed).normal(size=(count, width)).astype(dtype)


async def test_each_job_is_answered_once_with_its_own_rows(lane: Lane) -> None:
    jobs = [Counted(rows(lane, 1 + n % 3, seed=n)) for n in range(40)]
    alone = [next(iter(reversed(lane.engine.run(job.arrays).values()))) for job in jobs]
    for job in jobs:
        lane.submit(job, 100)
    for job, expected in zip(jobs, alone, strict=True):
        np.testing.assert_allclose(await job.answer(), expected, rtol=1e-6)
    assert [job.told for job in jobs] == [1] * 40
    assert lane.tally.rows == sum(job.rows for job in jobs)
    assert lane.tally.runs < 40, "together"
    assert lane.depth() == 0


async def test_what_is_late_or_whose_caller_has_gone_never_runs(lane: Lane) -> None:
    late, gone = Counted(rows(lane, 1), deadline=time.perf_counter() - 1), Counted(rows(lane, 1))
    lane.submit(late, 10)
    lane.submit(gone, 10)
    gone.cancelled = True
    with pytest.raises(DeadlineExceeded):
        await late.answer()
    with pytest.raises(PenstockError) as caught:
        await gone.answer()
    assert caught.value.code == "serve.cancelled"
    assert (lane.tally.runs, lane.tally.expired, lane.tally.cancelled) == (0, 1, 1)


async def test_a_queue_has_an_end(lane: Lane) -> None:
    lane.settle(Batching(rows=1))
    taken: list[Counted] = []
    refusals = 0
    for _ in range(12):
        job = Counted(rows(lane, 1))
        try:
            lane.submit(job, 3)
        except Overloaded:
            refusals += 1
        else:
            taken.append(job)
    assert refusals == lane.tally.refused >= 8
    for job in taken:
        await job.answer()


async def test_closing_answers_what_was_taken(lane: Lane) -> None:
    jobs = [Counted(rows(lane, 1)) for _ in range(5)]
    for job in jobs:
        lane.submit(job, 10)
    lane.close()
    for job in jobs:
        await job.answer()
    assert lane.trouble() == ""
