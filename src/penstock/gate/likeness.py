"""Stage 2, gate: does a compressed form answer as the version that it was made of, by tolerance?

What comes in: a candidate whose champion is its parent. What goes out: three findings: labels that differ, numbers
that lie apart, and whether a row's answer hangs on the rows beside it. They are asked of compressed forms alone: a
retrained version is meant to answer otherwise.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from penstock.gate.answers import answer
from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.packages.golden import apart_by_row
from penstock.records import Finding
from penstock.statistics.metrics import FloatArray
from penstock.tensors import Arrays


class LikenessLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `likeness`.

    Attributes:
        flips: Largest share of rows with another label.
        tolerance: How far a number may lie from the parent's: absolute below 1, relative above.
        beyond: Largest share of rows that may lie further.
        steady: How far a row alone may be answered from the same row among others.
        alone: Rows that are asked alone.
    """

    flips: float = 0.005
    tolerance: float = 0.1
    beyond: float = 0.01
    steady: float = 1e-4
    alone: int = 64


class Likeness:
    """A form beside its parent."""

    name: ClassVar[str] = "likeness"

    def __init__(self, limits: LikenessLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Labels where there are any, numbers where there are any, and steadiness."""
        if candidate.champion is None:
            return [self._question("labels", "Is there a parent?").unknown("No parent was given.", "Name one.")]
        parent = answer(candidate.champion, candidate.data.validation.inputs)
        return [
            *self._labels(parent, candidate.outputs),
            *self._numbers(parent, candidate.outputs),
            self._steadiness(candidate),
        ]

    def _labels(self, parent: Arrays, form: Arrays) -> list[Finding]:
        names = [name for name, array in parent.items() if array.dtype.kind != "f"]
        if not names:
            return []
        question = self._question("labels", "Does it give the parent's labels?")
        other = np.zeros(len(parent[names[0]]), dtype=np.bool_)
        for name in names:
            other |= np.asarray(parent[name] != form[name]).reshape(len(other), -1).any(axis=1)
        share = float(other.mean())
        shown = Shown(
            measured={"flips": int(other.sum()), "share": share, "rows": len(other)},
            limits={"flips": self.limits.flips},
        )
        said = f"{int(other.sum()):,} of {len(other):,} labels differ ({share:.2%})"
        if share <= self.limits.flips:
            return [question.passed(f"Yes: {said}.", shown)]
        return [
            question.refused(
                f"No: {said}; the limit is {self.limits.flips:.2%}.", "Compress it less, or allow more flips.", shown
            )
        ]

    def _numbers(self, parent: Arrays, form: Arrays) -> list[Finding]:
        numbers = [name for name, array in parent.items() if array.dtype.kind == "f"]
        if not numbers:
            return []
        question = self._question("numbers", "Are its numbers the parent's, by tolerance?")
        apart: FloatArray = np.max([apart_by_row(parent[name], form[name]) for name in numbers], axis=0)
        limits = self.limits
        beyond = float((apart > limits.tolerance).mean())
        shown = Shown(
            measured={"largest": float(apart.max()), "p99": float(np.quantile(apart, 0.99)), "beyond": beyond},
            limits={"tolerance": limits.tolerance, "beyond": limits.beyond},
        )
        said = f"{beyond:.2%} of the rows lie more than {limits.tolerance:g} away, the furthest {apart.max():.2g}"
        if beyond <= limits.beyond:
            return [question.passed(f"Yes: {said}.", shown)]
        return [
            question.refused(
                f"No: {said}; {limits.beyond:.2%} may.", "Compress it less, or allow a larger tolerance.", shown
            )
        ]

    def _steadiness(self, candidate: Candidate) -> Finding:
        """One request's answer must not hang on a stranger's that shares its run."""
        question = self._question("steady", "Is a row answered alike alone and among others?")
        inputs = candidate.data.validation.inputs
        rows = min(len(candidate.data.validation), self.limits.alone)
        together = candidate.engine.run({name: array[:rows] for name, array in inputs.items()})
        parts = [
            candidate.engine.run({name: array[at : at + 1] for name, array in inputs.items()}) for at in range(rows)
        ]
        alone = {name: np.concatenate([part[name] for part in parts]) for name in together}
        numbers = [name for name, array in together.items() if array.dtype.kind == "f"]
        apart = max((float(apart_by_row(together[name], alone[name]).max()) for name in numbers), default=0.0)
        flips = sum(int((together[name] != alone[name]).sum()) for name in together.keys() - set(numbers))
        shown = Shown(measured={"apart": apart, "flips": flips, "rows": rows}, limits={"steady": self.limits.steady})
        said = f"{rows} rows asked alone and together lie {apart:.1g} apart, {flips} labels differ"
        if apart <= self.limits.steady and not flips:
            return question.passed(f"Yes: {said}.", shown)
        return question.refused(
            f"No: {said}; the limit is {self.limits.steady:g}.", "Use scales that do not hang on the batch.", shown
        )

    def _question(self, key: str, title: str) -> Question:
        return Question(self.name, key, title, self.limits)
