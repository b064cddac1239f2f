"""Stage 2, gate: does it answer the same again, alone and in company, and is the figure itself steady?

What comes in: validation rows. What goes out: findings on repetition (equal bits), on the batch (a row's answer
does not depend on its neighbours), and on the spread of the leading metric over resamples and over days.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from penstock.gate.answers import scores_of
from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.evidence import band, evidence
from penstock.gate.freeform import GIVE_BODIES, NO_BODIES
from penstock.gate.units import is_epoch
from penstock.records import JSON, Finding
from penstock.statistics.intervals import NotEstimable
from penstock.statistics.metrics import Metric, fitting, value
from penstock.tensors import Array, Arrays

MAX_DAYS = 120


class StabilityLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `StabilityCheck`.

    Attributes:
        repeats: How often the same rows are asked.
        alone: LabelledRows asked one by one.
        tolerance: Largest difference between a row's scores alone and in a batch, relative above 1.
        halfwidth: Largest half-width of the leading metric's interval.
        rows: Validation rows taken for repetition, at most.
        min_rows: Fewer show nothing.
    """

    repeats: int = 3
    alone: int = 64
    tolerance: float = 1e-5
    halfwidth: float = 0.1
    rows: int = 2000
    min_rows: int = 50


class StabilityCheck:
    """Repetition, batches, resamples."""

    name: ClassVar[str] = "stability"
    Limits: ClassVar[type[CheckLimits]] = StabilityLimits

    def __init__(self, limits: StabilityLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Three findings."""
        return [self._repeats(candidate), self._batches(candidate), self._spread(candidate)]

    def _repeats(self, candidate: Candidate) -> Finding:
        question = Question(self.name, "repeats", "Does it give the same answer twice?", self.limits)
        if not len(candidate.data.validation):
            return question.missing(NO_BODIES, GIVE_BODIES)
        inputs = _first(candidate.data.validation.inputs, self.limits.rows)
        rows = len(next(iter(inputs.values())))
        runs = [candidate.engine.run(inputs) for _ in range(self.limits.repeats)]
        differing = max(_differing(runs[0], run) for run in runs[1:]) if len(runs) > 1 else 0
        shown = Shown(
            measured={"differing": differing, "rows": rows, "repeats": len(runs)},
            limits={"differing": 0},
        )
        if differing == 0:
            return question.passed(f"Yes: {rows:,} rows asked {len(runs)} times, every bit equal.", shown)
        return question.refused(
            f"No: {differing:,} of {rows:,} rows get another answer when asked again.",
            "Fix its random state, or take the dropout and sampling out of inference.",
            shown,
        )

    def _batches(self, candidate: Candidate) -> Finding:
        question = Question(self.name, "batches", "Is a row's answer its own, whatever comes with it?", self.limits)
        if not len(candidate.data.validation):
            return question.missing(NO_BODIES, GIVE_BODIES)
        inputs = _first(candidate.data.validation.inputs, self.limits.alone)
        together = candidate.engine.run(inputs)
        rows = len(next(iter(inputs.values())))
        each = [candidate.engine.run({name: array[i : i + 1] for name, array in inputs.items()}) for i in range(rows)]
        alone = {name: np.concatenate([one[name] for one in each]) for name in together}
        before, after = scores_of(together), scores_of(alone)
        apart = float((np.abs(before - after) / np.maximum(1.0, np.abs(before))).max()) if before.size else 0.0
        told = {name: array for name, array in together.items() if name == "label" or not before.size}
        flips = _differing(told, alone) if told else 0
        shown = Shown(
            measured={"max_difference": apart, "label_flips": flips, "rows": rows},
            limits={"tolerance": self.limits.tolerance},
        )
        # Where scores agree a label can flip at a tie only; without scores labels are all there is.
        if apart <= self.limits.tolerance and (before.size or not flips):
            return question.passed(
                f"Yes: {rows} rows asked alone and together {f'differ by at most {apart:.1e}' if apart else 'agree'}.",
                shown,
            )
        return question.refused(
            f"No: {rows} rows asked alone and together differ by up to {apart:.2g}, {flips} are told otherwise.",
            "Nothing may be fitted or averaged over the rows of a request; move it into training.",
            shown,
        )

    def _spread(self, candidate: Candidate) -> Finding:
        question = Question(self.name, "spread", "Is the figure itself steady?", self.limits)
        if not candidate.judged_by_labels:
            return question.missing("Not shown: there is no figure that labels give.", candidate.labels_wanted)
        answers = candidate.validated
        metric = fitting(answers)[0]
        if len(answers) < self.limits.min_rows:
            return question.unknown(
                f"Only {len(answers)} rows were given; {self.limits.min_rows} are the least that show anything.",
                "Give more labelled rows.",
            )
        found = candidate.estimated(metric.name)
        if isinstance(found, NotEstimable):
            return question.unknown(f"The {metric.title} cannot be told: {found.reason}.", "Give rows that tell it.")
        half = (found.high - found.low) / 2
        shown = Shown(
            measured={"halfwidth": half, "units": found.units, "rows": found.rows},
            limits={"halfwidth": self.limits.halfwidth},
            evidence=evidence(_by_day(candidate, metric), notes=[f"Interval: {found.method}."]),
        )
        said = f"the {metric.title} is {found.value:.3f}, give or take {half:.3f}"
        if half <= self.limits.halfwidth:
            return question.passed(f"Yes: {said}.", shown)
        return question.unknown(
            f"Not shown: {said}; the limit is {self.limits.halfwidth:g}.", "Give more rows, over more days.", shown
        )


def _first(inputs: Arrays, most: int) -> Arrays:
    return {name: array[:most] for name, array in inputs.items()}


def _differing(first: Arrays, again: Arrays) -> int:
    """LabelledRows of which any output differs in any bit."""
    wrong = [_unequal(array, again[name]) for name, array in first.items()]
    return int(np.logical_or.reduce(wrong).sum())


def _unequal(first: Array, again: Array) -> Array:
    if first.shape != again.shape:
        return np.ones(len(first), dtype=np.bool_)
    same = np.asarray(first == again, dtype=np.bool_)
    if first.dtype.kind == "f":
        same = same | (np.isnan(first) & np.isnan(again))
    return np.asarray(~same.reshape(len(first), -1).all(axis=1))


def _by_day(candidate: Candidate, metric: Metric) -> list[JSON]:
    """The leading metric of each day, where days are known."""
    days, times = candidate.data.by_time.get("validation"), candidate.data.validation.time
    if days is None or times is None:
        return []
    names, values = [], []
    for day in np.unique(days)[:MAX_DAYS]:
        mask = days == day
        one = value(metric.name, candidate.validated.take(mask))
        if one is not None:
            names.append(_name(float(times[mask].min())))
            values.append(one)
    if len(values) < 3:
        return []
    middle, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    unit = "day" if is_epoch(times) else candidate.data.time_name
    title = f"{metric.title} by {unit}: mean {middle:.3f}, standard deviation {spread:.3f}"
    return [band(title, names, values, middle=middle, spread=spread)]


def _name(time: float) -> str:
    """A day's date, or the number that stands for it."""
    return str(np.datetime64(int(time), "s"))[:10] if is_epoch(np.array([time])) else f"{time:g}"
