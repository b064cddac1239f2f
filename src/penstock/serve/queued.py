"""A lane whose engine is not on the event loop: one owner of the queue, who forms each run when an engine is free.

    submit --admit?--> FairQueue --turn: an engine is free--> batch --> _start ... _ended --> job.finish, next turn

What waits when an engine becomes free is its next batch, up to the size that was measured to keep a latency; a lone
request waits for nobody. Refused at once is what would not get its turn in time: by the measured pace, not only by
count. A tick, only while something is held, tells callers whose time is over.
"""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

from penstock.errors import Overloaded, PenstockError
from penstock.records import Batching
from penstock.runtime.engine import Engine
from penstock.serve.batcher import Runner
from penstock.serve.lane import Job, LaneTally, Result, gone, late, overloaded
from penstock.serve.pace import Pace
from penstock.serve.queue import FairQueue

WAIT_S = 1.0
WAIT_RUNS = 8
"""How long a request may expect to wait where nobody set it."""

TICK_S = 0.02
"""How often deadlines and callers are looked at while something runs."""


class BatchRun:
    """One batch on its way through an engine.

    Attributes:
        started: `perf_counter` at its start.
        expected_s: What it should take.
        ticks: How often the lane looked at it since.
    """

    __slots__ = ("expected_s", "jobs", "rows", "started", "ticks")

    def __init__(self, jobs: list[Job], rows: int, started: float, expected_s: float) -> None:
        self.jobs = jobs
        self.rows = rows
        self.started = started
        self.expected_s = expected_s
        self.ticks = 0

    def left_s(self, now: float) -> float:
        """How long it will go on, as it seems; what is late is expected to take as long again.

        A loop that stood still has not heard yet of what ended meanwhile: that time is not held against the run.
        """
        return abs(self.expected_s - min(now - self.started, (self.ticks + 1) * TICK_S))


class QueuedLane:
    """What lanes share whose engine is elsewhere.

    Attributes:
        engine: What runs the jobs.
        runner: Stacks and splits.
        tally: What was done.
        pace: How long runs take.
    """

    inline = False

    def __init__(self, engine: Engine, *, batchable: bool, pace: Pace) -> None:
        self.engine = engine
        self.runner = Runner(engine, batchable=batchable)
        self.tally = LaneTally()
        self.pace = pace
        self._batching = Batching()
        self._queue = FairQueue()
        self._runs: list[BatchRun] = []
        self._loop = asyncio.get_running_loop()
        self._turning = False
        self._ticking = False
        self._since = 0.0
        self._closed = False
        self._stopped = False
        self._close_engine = True

    # -- what a way of running supplies

    def _engines(self) -> int:
        """How many runs there may be at one time."""
        return 1

    def _start(self, run: BatchRun) -> None:
        """Begin a run; `_ended` has to be called with its results, on the loop."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Let go of everything: the last job has left."""
        raise NotImplementedError

    def _abandon(self, run: BatchRun) -> None:
        """Nobody waits for this run any more: end it, where that can be done."""

    # -- the lane

    def submit(self, job: Job, limit: int) -> None:
        """Take a job, or refuse it at once; see `penstock.serve.lane.Lane.submit`."""
        queue = self._queue
        if queue.rows or len(self._runs) >= self._engines():
            self._admit(job, limit)
        if not len(queue):
            self._since = perf_counter()
        queue.put(job)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK_S, self._tick)
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    def ran(self, rows: int, runs: int = 1) -> None:
        """So many rows went through the engine."""
        self.tally.runs += runs
        self.tally.rows += rows

    def settle(self, batching: Batching) -> None:
        """Go by other settings from now on."""
        self._batching = batching

    def trouble(self) -> str:
        """Nothing keeps it from answering."""
        return ""

    def close(self, *, engine: bool = True) -> None:
        """Close after the last job."""
        self._closed = True
        self._close_engine = engine
        self._stop_if_done()

    # -- who is taken

    def _admit(self, job: Job, limit: int) -> None:
        """Refuse a job that finds no room, or would be too late."""
        queue = self._queue
        # What fills an engine that is free does not wait.
        limit += max(self._engines() - len(self._runs), 0) * self._batch_rows()
        if len(queue) >= limit:
            self._forget_the_dead(perf_counter())
        if len(queue) >= limit:
            self._refuse(overloaded())
        if queue.over_its_share(job.subject, limit):
            self._refuse(too_much())
        wait_s = self._wait_s(job)
        if wait_s > (self._batching.wait_s or max(WAIT_S, WAIT_RUNS * self.pace.run_s(1))):
            error = too_much() if queue.beyond_its_part(job.subject) else overloaded()
            error.retry_after_s = max(1, math.ceil(wait_s))
            self._refuse(error)
        if job.deadline and perf_counter() + wait_s + self.pace.run_s(job.rows) > job.deadline:
            self._refuse(late())

    def _wait_s(self, job: Job) -> float:
        """How long a job would wait for its turn, as far as can be told."""
        now, engines = perf_counter(), self._engines()
        busy = len(self._runs) >= engines
        first = min((self._left_s(run, now) for run in self._runs), default=0.0) if busy else 0.0
        return first + self.pace.wait_s(self._queue.ahead_of(job), batch_rows=self._batch_rows(), engines=engines)

    def _left_s(self, run: BatchRun, now: float) -> float:
        """How long a run will go on."""
        return run.left_s(now)

    def _refuse(self, error: PenstockError) -> None:
        self.tally.refused += 1
        raise error

    def _batch_rows(self) -> int:
        """Rows of the largest run."""
        if not self.runner.batchable:
            return 1
        return self._batching.rows or self.pace.batch_rows

    # -- whose turn it is

    def _turn(self) -> None:
        """Give every engine that is free its next batch."""
        self._turning = False
        queue = self._queue
        while len(queue) and len(self._runs) < self._engines():
            now = perf_counter()
            if self._better_waits(now):
                return
            jobs, rows = self._next_jobs(now)
            if jobs:
                run = BatchRun(jobs, rows, now, self.pace.run_s(rows))
                self._runs.append(run)
                self._start(run)
        self._stop_if_done()

    def _better_waits(self, now: float) -> bool:
        """Whether an idle engine should wait for more rows; if so it looks again in time."""
        delay_s = self._batching.delay_s
        if not delay_s or self._runs or self._closed or self._queue.rows >= self._batch_rows():
            return False
        left = self._since + delay_s - now
        if left <= 0:
            return False
        self._turning = True
        self._loop.call_later(left, self._turn)
        return True

    def _next_jobs(self, now: float) -> tuple[list[Job], int]:
        """The jobs of the next run, at least one unless nobody waits any more, and their rows."""
        queue, most = self._queue, self._batch_rows()
        jobs: list[Job] = []
        rows = 0
        while len(queue):
            job = queue.first()
            if self._is_dead(job, now):
                queue.pop()
                continue
            if jobs and (rows + job.rows > most or not self.runner.batchable):
                break
            jobs.append(queue.pop())
            rows += job.rows
        return jobs, rows

    def _ended(self, run: BatchRun, results: list[Result]) -> None:
        """A run is over: answer, and go on."""
        took = perf_counter() - run.started
        self._runs.remove(run)
        self.ran(run.rows)
        if not isinstance(results[0], PenstockError):
            self.pace.learn(run.rows, took)
        if len(self._queue):
            self._turn()
        elif self._closed:
            self._stop_if_done()
        for job, result in zip(run.jobs, results, strict=True):
            job.finish(result)

    # -- whose time is over

    def _tick(self) -> None:
        """Tell whoever's time is over; look again while anything is held."""
        now = perf_counter()
        self._forget_the_dead(now)
        for run in tuple(self._runs):
            run.ticks += 1
            waited_for = False
            for job in run.jobs:
                if not job.finished:
                    waited_for |= not self._is_dead(job, now)
            if not waited_for:
                self._abandon(run)
        self._ticking = bool(self._runs or len(self._queue))
        if self._ticking:
            self._loop.call_later(TICK_S, self._tick)

    def _forget_the_dead(self, now: float) -> None:
        """Take out of the queue what nobody waits for."""
        self._queue.drop(lambda job: self._is_dead(job, now))

    def _is_dead(self, job: Job, now: float) -> bool:
        """Whether nobody waits for a job any more; it is told."""
        if job.finished:
            return True
        if job.cancelled:
            self.tally.cancelled += 1
            job.finish(gone())
        elif job.deadline and now >= job.deadline:
            self.tally.expired += 1
            job.finish(late())
        return job.finished

    def _stop_if_done(self) -> None:
        if self._closed and not self._stopped and not self._runs and not len(self._queue):
            self._stopped = True
            self._stop()


def too_much() -> Overloaded:
    """The refusal of a subject that has its share of the queue already."""
    return Overloaded("too many of your requests wait already", "ask for less at a time", code="serve.share")
