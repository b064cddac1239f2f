"""Whether what is said comes true for each group: calibration within groups (part of ``gate``).

What comes in: probabilities of classes, and groups. What goes out: a finding on the group and the third of the
probabilities in which said and true lie furthest apart. Source: Kleinberg, Mullainathan and Raghavan, ITCS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from penstock.gate.check import Question, Shown
from penstock.gate.disparity import Grouped
from penstock.gate.evidence import bars, evidence, table
from penstock.records import Finding, Scalar
from penstock.statistics.fairness import Quotient, group_figures
from penstock.statistics.metrics import Answers, FloatArray

BINS = 3
"""Of equal rows, by what was said."""

CELL_ROWS = 30
"""A group's bin of fewer rows is not judged."""


class Cell(NamedTuple):
    """Rows of one group to which a like probability was said: its mean, the share that came true, its interval."""

    group: str
    rows: int
    said: float
    came: float
    low: float
    high: float

    @property
    def gap(self) -> tuple[float, float, float]:
        """What was said minus what came true, and its ends."""
        return self.said - self.came, self.said - self.high, self.said - self.low


def _cells(grouped: Grouped, said: FloatArray, came: FloatArray) -> list[Cell]:
    """Each group's rows in bins that are the same for all groups; small cells are left out."""
    names, codes = grouped.groups.names, grouped.groups.codes
    edges = np.unique(np.quantile(said, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.where(codes >= 0, codes * BINS + np.searchsorted(edges, said, side="right"), -1)
    every = np.ones(len(said))
    figures = group_figures(
        Quotient(came, every), place, len(names) * BINS, grouped.units, confidence=grouped.confidence
    )
    found = []
    for at, one in enumerate(figures.each):
        if one is not None and one.rows >= CELL_ROWS:
            mean = float(said[place == at].mean())
            found.append(Cell(names[at // BINS], one.rows, mean, one.value, one.low, one.high))
    return found


def calibration_findings(
    answers: Answers, grouped: Grouped, classes: Mapping[int, str], question: Question, limit: float
) -> list[Finding]:
    """One finding; none where there are no probabilities.

    Args:
        answers: Beside the truth.
        grouped: With the confidence that each cell's interval needs for all of them to hold at once.
        classes: Place and name of those asked about.
        question: Of the check.
        limit: Largest distance of said and true.
    """
    if answers.scores is None or not answers.probable:
        return []
    found = [
        (cell, name)
        for code, name in classes.items()
        for cell in _cells(grouped, answers.scores[:, code], (answers.truth == code).astype(np.float64))
    ]
    if not found:
        return [question.unknown("That cannot be told: no group has enough rows.", "Give more labelled rows.")]
    beyond = [(cell, name) for cell, name in found if cell.gap[1] > limit or cell.gap[2] < -limit]
    worst, name = max(beyond or found, key=lambda one: max(abs(end) for end in one[0].gap[0 if beyond else 1 :]))
    value, low, high = worst.gap
    column = grouped.groups.column
    shown = Shown(
        measured={"group": worst.group, "gap": value, "low": low, "high": high, "rows": worst.rows},
        limits={"calibration": limit},
        evidence=evidence(
            [bars(f"Said minus came true, {name}, by group of {column}", _bars(found, name))],
            [table(f"Calibration within groups of {column}", [_row(*one) for one in found])],
            [f"Intervals of Wilson, for {len(found)} cells at once (Bonferroni)."],
        ),
    )
    said = f"to {worst.group} a probability of {worst.said:.3f} of {name} is said on average, and a share of"
    said += f" {worst.came:.3f} ({worst.low:.3f} to {worst.high:.3f}) comes true"
    if beyond:
        return [question.refused(f"No: {said}; the limit is {limit:g} apart.", "Calibrate it by group.", shown)]
    if max(abs(low), abs(high)) <= limit:
        return [question.passed(f"Yes, and where it lies furthest: {said}.", shown)]
    said = f"Not shown: {said}; the limit of {limit:g} apart lies inside the interval."
    return [question.unknown(said, "Give more labelled rows.", shown)]


def _row(cell: Cell, name: str) -> dict[str, Scalar]:
    """One line of the calibration table."""
    gap, low, high = cell.gap
    return {
        "group": cell.group, "class": name, "rows": cell.rows, "probability said": cell.said,
        "share that came true": cell.came, "apart": gap, "low": low, "high": high,
    }  # fmt: skip


def _bars(found: Sequence[tuple[Cell, str]], name: str) -> list[tuple[str, float, float, float]]:
    """The gaps of one class, a bar a cell."""
    return [(f"{cell.group}, said {cell.said:.2f}", *cell.gap) for cell, about in found if about == name]
