"""Stage 4, serve: one model's queue, and the batches that leave it.

    submit(job) -> queue (bounded) -> one engine run for all that wait -> job.done(outputs or error), each

An inline engine runs on the event loop once per loop turn, with every request that came in that turn: no timer,
so a lone request waits for nobody. Another engine runs on its own thread; what comes meanwhile is the next batch.
A job whose deadline is over, or whose caller has gone, never starts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Protocol

import numpy as np

from penstock.errors import DeadlineExceeded, ModelFailed, Overloaded, PenstockError
from penstock.runtime.engine import Engine
from penstock.tensors import Arrays, Signature

MAX_BATCH_ROWS = 1024
"""Rows in one run, unless a single request has more: it bounds how long a batch keeps others waiting."""

INLINE_S = 0.001

Result = Arrays | PenstockError


class Job:
    """One request on its way through a model.

    Attributes:
        arrays: Conformed inputs.
        rows: Their first dimension.
        deadline: `perf_counter` after which it must not start; 0 means never.
        finished: Whether somebody was told already.
        cancelled: The caller has gone.
    """

    __slots__ = ("arrays", "cancelled", "deadline", "finished", "rows")

    def __init__(self, arrays: Arrays, rows: int, deadline: float) -> None:
        self.arrays = arrays
        self.rows = rows
        self.deadline = deadline
        self.finished = False
        self.cancelled = False

    def finish(self, result: Result) -> None:
        """Tell whoever waits, once."""
        if not self.finished:
            self.finished = True
            self.done(result)

    def done(self, result: Result) -> None:
        """What to do with the answer."""
        raise NotImplementedError


class Lane(Protocol):
    """A model's queue: put in, and close when nobody will."""

    def submit(self, job: Job, limit: int) -> None:
        """Take a job.

        Raises:
            Overloaded: `limit` jobs wait already.
        """

    def depth(self) -> int:
        """Jobs that wait."""

    def close(self) -> None:
        """Close the engine when the last job has left."""


def open_lane(engine: Engine, signature: Signature, *, run_s: float) -> Lane:
    """The lane that fits an engine.

    Args:
        engine: Proven.
        signature: Says whether rows of several requests may be stacked.
        run_s: What a run on one row was measured to take; an event loop is only lent for `INLINE_S`.
    """
    batchable = all(spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] for spec in signature.inputs)
    runner = Runner(engine, batchable=batchable)
    return InlineLane(runner) if engine.inline and run_s < INLINE_S else ThreadLane(runner)


class Runner:
    """Runs a list of jobs through an engine: together where rows can be stacked, each alone otherwise."""

    def __init__(self, engine: Engine, *, batchable: bool) -> None:
        self.engine = engine
        self.batchable = batchable

    def run(self, jobs: list[Job]) -> list[Result]:
        """One result a job, in order."""
        if len(jobs) == 1 or not self.batchable:
            return [self._alone(job) for job in jobs]
        arrays = {name: np.concatenate([job.arrays[name] for job in jobs]) for name in jobs[0].arrays}
        whole = self._guarded(arrays, sum(job.rows for job in jobs), _time_left(jobs))
        if isinstance(whole, PenstockError):
            # One request's rows may be what broke it: the others must not pay for that.
            return [self._alone(job) for job in jobs]
        results: list[Result] = []
        start = 0
        for job in jobs:
            end = start + job.rows
            results.append({name: array[start:end] for name, array in whole.items()})
            start = end
        return results

    def _alone(self, job: Job) -> Result:
        return self._guarded(job.arrays, job.rows, _time_left((job,)))

    def _guarded(self, arrays: Arrays, rows: int, timeout_s: float | None) -> Result:
        """The outputs, or the fault they ended in."""
        try:
            outputs = self.engine.run(arrays, timeout_s=timeout_s)
        except PenstockError as error:
            return error
        # The worker loop: whatever an engine raises is the model's failure, not the server's.
        except Exception as error:
            return ModelFailed(f"the engine raised {type(error).__name__}: {error}")
        if any(len(array) != rows for array in outputs.values()):
            return ModelFailed("an output has another number of rows than the input")
        return outputs


class InlineLane:
    """Runs on the event loop, once a turn."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def submit(self, job: Job, limit: int) -> None:
        """Take a job; the first of a turn schedules the run at the turn's end."""
        waiting = self._waiting
        if len(waiting) >= limit:
            raise overloaded()
        if not waiting:
            self._loop.call_soon(self._flush)
        waiting.append(job)

    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Close the engine now, or after the run that is scheduled."""
        self._closed = True
        if not self._waiting:
            self._runner.engine.close()

    def _flush(self) -> None:
        jobs, self._waiting = self._waiting, []
        now = perf_counter()
        alive = [job for job in jobs if not (job.cancelled or _expired(job, now))]
        while alive:
            batch, alive = _cut(alive)
            for job, result in zip(batch, self._runner.run(batch), strict=True):
                job.finish(result)
        if self._closed:
            self._runner.engine.close()


class ThreadLane:
    """Runs on a thread of its own, so that health checks and deadlines stay true meanwhile."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: deque[Job] = deque()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._busy = False
        self._closed = False

    def submit(self, job: Job, limit: int) -> None:
        """Take a job; it is answered at its deadline whatever the engine does."""
        if len(self._waiting) >= limit:
            self._forget_the_dead()
        if len(self._waiting) >= limit:
            raise overloaded()
        if job.deadline:
            self._loop.call_later(max(job.deadline - perf_counter(), 0), job.finish, _late())
        self._waiting.append(job)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._next)

    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def close(self) -> None:
        """Close the engine after the last job."""
        self._closed = True
        if not self._busy:
            self._end()

    def _forget_the_dead(self) -> None:
        self._waiting = deque(job for job in self._waiting if not (job.finished or job.cancelled))

    def _next(self) -> None:
        """Hand the thread the next batch, if there is one."""
        now = perf_counter()
        alive = [job for job in self._waiting if not (job.finished or job.cancelled or _expired(job, now))]
        self._waiting.clear()
        if not alive:
            self._busy = False
            if self._closed:
                self._end()
            return
        batch, rest = _cut(alive)
        self._waiting.extend(rest)
        future = self._loop.run_in_executor(self._thread, self._runner.run, batch)
        future.add_done_callback(lambda ended: self._ended(batch, ended.result()))

    def _ended(self, batch: list[Job], results: list[Result]) -> None:
        for job, result in zip(batch, results, strict=True):
            job.finish(result)
        self._next()

    def _end(self) -> None:
        self._thread.submit(self._runner.engine.close)
        self._thread.shutdown(wait=False)


def _cut(jobs: list[Job]) -> tuple[list[Job], list[Job]]:
    """The jobs of the next run, at least one, and the rest."""
    rows = 0
    for index, job in enumerate(jobs):
        rows += job.rows
        if index and rows > MAX_BATCH_ROWS:
            return jobs[:index], jobs[index:]
    return jobs, []


def _time_left(jobs: Sequence[Job]) -> float | None:
    """What the most patient of the jobs gives the engine, in seconds; None where one has no deadline."""
    last = 0.0
    for job in jobs:
        if not job.deadline:
            return None
        last = max(last, job.deadline)
    return max(last - perf_counter(), 0.001)


def _expired(job: Job, now: float) -> bool:
    """Whether its time is over; if so its caller is told."""
    if not job.deadline or now < job.deadline:
        return False
    job.finish(_late())
    return True


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the time budget of the request ran out", "give it more, or ask again later")


def overloaded() -> Overloaded:
    """The refusal of a full queue."""
    return Overloaded("too many requests wait already", "ask again in a second")
