"""Stage 2, gate: is it fast enough?

What comes in: validation rows and an engine in this process. What goes out: one finding on the time of a single row
(median and 99th percentile) and one on rows a second in batches. Figures are of this machine, under whatever else
it does; network and queue are not in them. They are measured, so they are not equal from run to run.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np

from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.evidence import bars, evidence
from penstock.gate.freeform import GIVE_BODIES, NO_BODIES
from penstock.records import Finding
from penstock.runtime.engine import Engine
from penstock.tensors import Arrays

WARM_UP = 5


class LatencyLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `LatencyCheck`; wide by default, for the machine of the gate may be busy with something else.

    Attributes:
        p50_s: Largest median time of one row.
        p99_s: Largest 99th percentile of it.
        rows_per_s: Smallest throughput.
        runs: Single rows timed, at most.
        min_runs: Fewer in the time budget show no 99th percentile.
        batch: LabelledRows of a batch.
        budget_s: Time for the single rows, enough for `min_runs` at the slowest allowed median; as much again for
            the batches.
    """

    p50_s: float = 0.1
    p99_s: float = 1.0
    rows_per_s: float = 100.0
    runs: int = 300
    min_runs: int = 60
    batch: int = 512
    budget_s: float = 6.0


class LatencyCheck:
    """Time of one row, rows a second."""

    name: ClassVar[str] = "latency"
    Limits: ClassVar[type[CheckLimits]] = LatencyLimits

    def __init__(self, limits: LatencyLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Two findings; one where there is nothing to ask it with."""
        if not len(candidate.data.validation):
            question = Question(self.name, "single", "Is one row answered fast enough?", self.limits)
            return [question.missing(NO_BODIES, GIVE_BODIES)]
        return [self._single(candidate), self._batch(candidate)]

    def _single(self, candidate: Candidate) -> Finding:
        question = Question(self.name, "single", "Is one row answered fast enough?", self.limits)
        limits = self.limits
        times = _singles(candidate.engine, candidate.data.validation.inputs, limits)
        p50, p99 = float(np.quantile(times, 0.5)), float(np.quantile(times, 0.99))
        drawn = [
            (name, 1000 * value, 1000 * value, 1000 * value)
            for name, value in (("median", p50), ("99th percentile", p99), ("slowest", float(times.max())))
        ]
        shown = Shown(
            measured={"p50_s": p50, "p99_s": p99, "runs": len(times)},
            limits={"p50_s": limits.p50_s, "p99_s": limits.p99_s},
            evidence=evidence([bars("One row", drawn, limit=1000 * limits.p99_s, unit="ms")]),
        )
        said = f"one row takes {1000 * p50:.3g} ms at the median, {1000 * p99:.3g} ms at the 99th percentile"
        said += f" ({len(times)} runs, in this process)"
        if p50 > limits.p50_s or (p99 > limits.p99_s and len(times) >= limits.min_runs):
            return question.refused(
                f"No: {said}; the limits are {1000 * limits.p50_s:g} and {1000 * limits.p99_s:g} ms.",
                "Compile it (`penstock package` says why it did not), or make it smaller.",
                shown,
            )
        if len(times) < limits.min_runs:
            return question.unknown(
                f"Not shown: {said}; {limits.min_runs} runs are the least that tell the 99th percentile.",
                "Give the check more time (budget_s), or make the model faster.",
                shown,
            )
        return question.passed(f"Yes: {said}.", shown)

    def _batch(self, candidate: Candidate) -> Finding:
        question = Question(self.name, "batch", "Does it keep up in batches?", self.limits)
        inputs, size = candidate.data.validation.inputs, self.limits.batch
        rows = len(next(iter(inputs.values())))
        # Fewer rows than a batch holds are repeated: speed does not ask which rows they are.
        index = np.arange(size) % rows
        batch = {name: np.ascontiguousarray(array[index]) for name, array in inputs.items()}
        rate = _rate(candidate.engine, batch, size, self.limits.budget_s)
        shown = Shown(
            measured={"rows_per_s": rate, "batch": size},
            limits={"rows_per_s": self.limits.rows_per_s},
        )
        said = f"{rate:,.0f} rows a second in batches of {size}"
        if rate >= self.limits.rows_per_s:
            return question.passed(f"Yes: {said}.", shown)
        remedy = "Compile it, make it smaller, or give it more workers and lower the limit."
        return question.refused(f"No: {said}; the limit is {self.limits.rows_per_s:,.0f}.", remedy, shown)


def _singles(engine: Engine, inputs: Arrays, limits: LatencyLimits) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Seconds of single rows, the rows in turn, until the runs are done or the budget is spent; at least one."""
    rows = len(next(iter(inputs.values())))
    times: list[float] = []
    begun = time.perf_counter()
    for run in range(WARM_UP + limits.runs):
        row = run % rows
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        start = time.perf_counter()
        engine.run(one)
        stop = time.perf_counter()
        times.append(stop - start)
        if stop - begun > limits.budget_s and len(times) > WARM_UP:
            break
    return np.array(times[WARM_UP:])


def _rate(engine: Engine, batch: Arrays, size: int, budget_s: float) -> float:
    """LabelledRows a second: the median batch, of as many as the budget allows and 20 at most."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 20 and (not times or time.perf_counter() - begun < budget_s):
        start = time.perf_counter()
        engine.run(batch)
        times.append(time.perf_counter() - start)
    return size / float(np.median(times))
