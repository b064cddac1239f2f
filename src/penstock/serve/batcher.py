"""Stage 4, serve: several requests in one run.

Comes in: jobs whose turn it is. Goes out: one result a job, in order: rows are stacked where the signature allows it,
run once, and split again. One request's bad rows never spoil another's.
"""

from __future__ import annotations

import numpy as np

from penstock.errors import ModelFailed, PenstockError
from penstock.runtime.engine import Engine
from penstock.serve.lane import Job, Result, gone, time_left
from penstock.tensors import Arrays


class Runner:
    """Runs a list of jobs through an engine: together where rows can be stacked, each alone otherwise.

    Attributes:
        engine: What runs them.
        batchable: Whether rows of several requests may be stacked.
    """

    def __init__(self, engine: Engine, *, batchable: bool) -> None:
        self.engine = engine
        self.batchable = batchable

    def run(self, jobs: list[Job]) -> list[Result]:
        """One result a job, in order."""
        if len(jobs) == 1 or not self.batchable:
            return [self.alone(job) for job in jobs]
        whole = self._guarded(stacked(jobs), sum(job.rows for job in jobs), time_left(jobs))
        if isinstance(whole, PenstockError):
            # One request's rows may be what broke it: the others must not pay for that.
            return [self.alone(job) for job in jobs]
        return split(jobs, whole)

    def alone(self, job: Job) -> Result:
        """One job's result; nothing is run that nobody waits for any more."""
        if job.finished or job.cancelled:
            return gone()
        return self._guarded(job.arrays, job.rows, time_left((job,)))

    def _guarded(self, arrays: Arrays, rows: int, timeout_s: float | None) -> Result:
        """The outputs, or the fault they ended in."""
        try:
            outputs = self.engine.run(arrays, timeout_s=timeout_s)
        except PenstockError as error:
            return error
        # The worker loop: whatever an engine raises is the model's failure, not the server's.
        except Exception as error:
            return ModelFailed(f"the engine raised {type(error).__name__}: {error}")
        return checked(outputs, rows)


def stacked(jobs: list[Job]) -> Arrays:
    """The rows of all jobs, one below the other."""
    return {name: np.concatenate([job.arrays[name] for job in jobs]) for name in jobs[0].arrays}


def split(jobs: list[Job], outputs: Arrays) -> list[Result]:
    """Each job's own rows."""
    results: list[Result] = []
    start = 0
    for job in jobs:
        end = start + job.rows
        results.append({name: array[start:end] for name, array in outputs.items()})
        start = end
    return results


def checked(outputs: Arrays, rows: int) -> Result:
    """The outputs, if each has a row for every row that was asked."""
    if any(len(array) != rows for array in outputs.values()):
        return ModelFailed("an output has another number of rows than the input")
    return outputs
