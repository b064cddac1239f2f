"""The contract of a lane: one model's queue, its one owner, and how it runs what waits.

    submit(job) -> queue (bounded) -> one engine run for those whose turn it is -> job.finish(outputs or error), each

A lane lives on the event loop. A job whose deadline is over, or whose caller has gone, never starts; every job that
was taken is finished exactly once. `open_lane` chooses the way of running that fits an engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Protocol, cast

from penstock import adapters
from penstock.errors import DeadlineExceeded, Overloaded, PenstockError, Unready
from penstock.records import Batching
from penstock.runtime.engine import Engine, RemoteEngine
from penstock.serve.pace import Pace
from penstock.tensors import Arrays, Signature

INLINE_S = 0.001
"""An event loop is only lent to runs shorter than this, in seconds."""

MEASURED = Batching()
"""Everything as it was measured."""

Result = Arrays | PenstockError


class Job:
    """One request on its way through a model.

    Attributes:
        arrays: Conformed inputs.
        rows: Their first dimension.
        deadline: `perf_counter` after which it must not start; 0 means never.
        subject: Whose it is: queues are shared fairly among subjects; empty for nobody in particular.
        priority: 1 is the highest; 0 is the same as 4.
        finished: Whether somebody was told already.
        cancelled: The caller has gone.
    """

    __slots__ = ("arrays", "cancelled", "deadline", "finished", "priority", "rows", "subject")

    def __init__(self, arrays: Arrays, rows: int, deadline: float) -> None:
        self.arrays = arrays
        self.rows = rows
        self.deadline = deadline
        self.subject = ""
        self.priority = 0
        self.finished = False
        self.cancelled = False

    def cancel(self) -> None:
        """The caller has gone: what has not started need not."""
        self.cancelled = True

    def finish(self, result: Result) -> None:
        """Tell whoever waits, once."""
        if not self.finished:
            self.finished = True
            self.done(result)

    def done(self, result: Result) -> None:
        """What to do with the answer."""
        raise NotImplementedError


class LaneTally:
    """What a lane has done so far.

    Attributes:
        runs: Runs of the engine.
        rows: Rows in them.
        refused: Jobs that were not taken.
        expired: Jobs whose time was over before they started.
        cancelled: Jobs whose caller had gone before they were answered.
    """

    __slots__ = ("cancelled", "expired", "refused", "rows", "runs")

    def __init__(self) -> None:
        self.runs = 0
        self.rows = 0
        self.refused = 0
        self.expired = 0
        self.cancelled = 0


class Lane(Protocol):
    """A model's queue: put in, and close when nobody will.

    Attributes:
        engine: What it runs.
        tally: What it has done.
        pace: How long runs take, and how many rows go into one.
        inline: It runs on the event loop itself: who answers a whole turn may run `engine` too, and says so by `ran`.
    """

    inline: bool
    engine: Engine
    tally: LaneTally
    pace: Pace

    def submit(self, job: Job, limit: int) -> None:
        """Take a job.

        Raises:
            Overloaded: `limit` jobs wait already, or it would wait too long, or its subject has its share.
            DeadlineExceeded: It could not be answered within its time.
        """

    def depth(self) -> int:
        """Jobs that wait."""

    def ran(self, rows: int, runs: int = 1) -> None:
        """So many rows went through the engine."""

    def settle(self, batching: Batching) -> None:
        """Go by other settings from now on."""

    def trouble(self) -> str:
        """Why it does not answer just now, in a few words; empty when it does."""

    def close(self, *, engine: bool = True) -> None:
        """Close when the last job has left, and the engine too unless another lane has it; twice is harmless."""


class LaneType(Protocol):
    """What the adapters' ``lane`` table names."""

    def __call__(self, engine: Engine, *, batchable: bool, pace: Pace) -> Lane:
        """A lane on the running event loop."""


def open_lane(engine: Engine, signature: Signature, *, pace: Pace, batching: Batching = MEASURED) -> Lane:
    """The lane that fits an engine.

    Args:
        engine: Proven.
        signature: Says whether rows of several requests may be stacked.
        pace: What its runs were measured to take.
        batching: Settings that overrule what was measured.
    """
    batchable = all(spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] for spec in signature.inputs)
    lane = _kind(engine, pace, batching)(engine, batchable=batchable, pace=pace)
    lane.settle(batching)
    return lane


def resettled(lane: Lane, signature: Signature, batching: Batching) -> Lane:
    """The lane that goes on by other settings: the same one, or another kind for the same engine."""
    if isinstance(lane, cast("type", _kind(lane.engine, lane.pace, batching))):
        lane.settle(batching)
        return lane
    lane.close(engine=False)
    return open_lane(lane.engine, signature, pace=lane.pace, batching=batching)


def _kind(engine: Engine, pace: Pace, batching: Batching) -> LaneType:
    """The class of the lane that fits."""
    return cast("LaneType", adapters.load("lane", _way(engine, pace, batching)))


def _way(engine: Engine, pace: Pace, batching: Batching) -> str:
    """The name of the lane."""
    if isinstance(engine, RemoteEngine):
        return "sandbox"
    if not engine.inline:
        return "thread"
    quick = pace.run_s(1) < INLINE_S if batching.mode == "auto" else batching.mode == "inline"
    return "inline" if quick else "thread"


def time_left(jobs: Sequence[Job]) -> float | None:
    """What the most patient of the jobs gives the engine, in seconds; None where one has no deadline."""
    last = 0.0
    for job in jobs:
        if not job.deadline:
            return None
        last = max(last, job.deadline)
    return max(last - perf_counter(), 0.001)


def late() -> DeadlineExceeded:
    """The refusal of a job whose time is over, or would be."""
    return DeadlineExceeded("the time budget of the request ran out", "give it more, or ask again later")


def gone() -> Unready:
    """How a job ends whose caller does not listen any more."""
    return Unready("the caller has gone", code="serve.cancelled")


def overloaded() -> Overloaded:
    """The refusal of a full queue."""
    return Overloaded("too many requests wait already", "ask again in a second")
