"""A quick engine on the event loop itself: once a loop turn, with every request that came in that turn.

No timer and no thread: a lone request waits for nobody.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from penstock.records import Batching
from penstock.runtime.engine import Engine
from penstock.serve.batcher import Runner
from penstock.serve.lane import Job, LaneTally, gone, late, overloaded
from penstock.serve.pace import Pace

BATCH_S = 0.01
"""A run of many rows may keep the event loop for so long."""


class InlineLane:
    """Runs on the event loop, once a turn.

    Attributes:
        engine: Whoever answers a whole turn by itself may run it, and says so by `ran`.
        runner: Stacks and splits.
        tally: What was done.
        pace: How long runs take.
    """

    inline = True

    def __init__(self, engine: Engine, *, batchable: bool, pace: Pace) -> None:
        self.engine = engine
        self.runner = Runner(engine, batchable=batchable)
        self.tally = LaneTally()
        self.pace = pace
        self._rows = pace.rows_within(BATCH_S)
        self._waiting: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._close_engine = True

    def submit(self, job: Job, limit: int) -> None:
        """Take a job; the first of a turn schedules the run at the turn's end."""
        waiting = self._waiting
        if len(waiting) >= limit:
            self.tally.refused += 1
            raise overloaded()
        if not waiting:
            self._loop.call_soon(self._flush)
        waiting.append(job)

    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def settle(self, batching: Batching) -> None:
        """Go by other settings from now on."""
        self._rows = batching.rows or self.pace.rows_within(BATCH_S)

    def ran(self, rows: int, runs: int = 1) -> None:
        """Somebody else ran so many rows through the engine."""
        self.tally.runs += runs
        self.tally.rows += rows

    def trouble(self) -> str:
        """Nothing keeps it from answering."""
        return ""

    def close(self, *, engine: bool = True) -> None:
        """Close the engine now, or after the run that is scheduled."""
        self._closed = True
        self._close_engine = engine
        if not self._waiting:
            self._end()

    def _flush(self) -> None:
        jobs, self._waiting = self._waiting, []
        now = perf_counter()
        alive = [job for job in jobs if self._starts(job, now)]
        while alive:
            batch, alive = _cut(alive, self._rows)
            self.ran(sum(job.rows for job in batch))
            for job, result in zip(batch, self.runner.run(batch), strict=True):
                job.finish(result)
        if self._closed:
            self._end()

    def _starts(self, job: Job, now: float) -> bool:
        """Whether somebody still waits for it; else it is told."""
        if job.cancelled:
            self.tally.cancelled += 1
            job.finish(gone())
            return False
        if job.deadline and now >= job.deadline:
            self.tally.expired += 1
            job.finish(late())
            return False
        return True

    def _end(self) -> None:
        if self._close_engine:
            self.engine.close()


def _cut(jobs: list[Job], most: int) -> tuple[list[Job], list[Job]]:
    """The jobs of the next run, at least one, and the rest."""
    rows = 0
    for index, job in enumerate(jobs):
        rows += job.rows
        if index and rows > most:
            return jobs[:index], jobs[index:]
    return jobs, []
