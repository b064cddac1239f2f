"""Figures of groups beside each other, held against a limit (part of ``gate``).

What comes in: tallies of a figure, the groups of one column. What goes out: for each figure its value a group with an
interval, and the pair of groups that stands worst: what the intervals show beyond the limit is refused, what they show
within it passes, and anything else is not known.

Sources of the figures: equal opportunity and equalized odds: Hardt, Price and Srebro, NeurIPS 2016; demographic parity,
and all of them by group, as Fairlearn has them; four fifths of the highest selection rate: 29 CFR 1607.4(D) (EEOC);
predictive parity: Chouldechova, Big Data 5, 2017; calibration within groups: Kleinberg, Mullainathan and Raghavan,
ITCS 2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from penstock.gate.groups import Grouping
from penstock.records import Outcomes
from penstock.statistics.fairness import Comparison, GroupFigures, Quotient, differences, group_figures, ratios
from penstock.statistics.metrics import Answers, IntArray

Kinds = Literal["ratio", "difference"]
_RANK: dict[Outcomes, int] = {"pass": 0, "unknown": 1, "refuse": 2}


class Disparity(NamedTuple):
    """The pair of groups that stands worst, and what its interval says of the limit.

    Attributes:
        outcome: ``unknown`` also where fewer than two groups have the figure.
        figure: The figure's title.
        worst: None where there is no pair.
        figures: Of every group.
        about: The class that the figure is about; empty of a regression.
        excess: How far beyond the limit, for choosing the worst of several.
    """

    outcome: Outcomes
    figure: str
    worst: Comparison | None
    figures: GroupFigures
    about: str = ""
    excess: float = 0.0


@dataclass(frozen=True)
class Grouped:
    """One column's groups, and what makes their figures comparable.

    Attributes:
        groups: Of the column.
        units: Unit of each row where rows of one unit depend on each other.
        confidence: Of each interval, such that all of a question's hold at once.
    """

    groups: Grouping
    units: IntArray | None
    confidence: float

    def figures(self, tally: Quotient) -> GroupFigures:
        """The figure of each group."""
        found = self.groups
        return group_figures(tally, found.codes, len(found.names), self.units, confidence=self.confidence)

    def disparity(self, figure: str, tally: Quotient, kind: Kinds, limit: float, *, about: str = "") -> Disparity:
        """The worst pair of groups.

        Args:
            figure: Its title.
            tally: What each row adds to it.
            kind: ``ratio``: a group's figure must be at least `limit` of any other's. ``difference``: it must lie at
                most `limit` above any other's.
            limit: What it is held against.
            about: The class in question.
        """
        figures = self.figures(tally)
        compared = ratios(figures) if kind == "ratio" else differences(figures)
        if not compared:
            return Disparity("unknown", figure, None, figures, about)
        # Turned so that more is worse.
        turned = [(-one.high, -one.value, -one.low) if kind == "ratio" else (one.low, one.value, one.high)
                  for one in compared]  # fmt: skip
        most = -limit if kind == "ratio" else limit
        beyond = [place for place, (low, _, _) in enumerate(turned) if low > most]
        if beyond:
            at = max(beyond, key=lambda place: turned[place][1])
            return Disparity("refuse", figure, compared[at], figures, about, turned[at][1] - most)
        at = max(range(len(turned)), key=lambda place: turned[place][2])
        outcome: Outcomes = "pass" if turned[at][2] <= most else "unknown"
        return Disparity(outcome, figure, compared[at], figures, about, turned[at][2] - most)


def worst_of(found: Iterable[Disparity]) -> Disparity:
    """Of several figures or classes the one that decides."""
    return max(found, key=lambda one: (_RANK[one.outcome], one.worst is None, one.excess))


def class_tallies(answers: Answers, code: int) -> dict[str, Quotient]:
    """The figures of one class against the rest, by title."""
    ours, said = answers.truth == code, answers.answer == code
    hits, every = (ours & said).astype(np.float64), np.ones(len(answers))
    yes, truly, falsely = (one.astype(np.float64) for one in (said, ours, ~ours))
    return {
        "selection rate": Quotient(yes, every),
        "true positive rate": Quotient(hits, truly),
        "false positive rate": Quotient(yes - hits, falsely),
        "positive predictive value": Quotient(hits, yes),
        "share of positives": Quotient(truly, every),
    }


def error_tallies(answers: Answers) -> dict[str, Quotient]:
    """The figures of a regression, by title; an error is answer minus truth."""
    error, every = answers.answer - answers.truth, np.ones(len(answers))
    return {"mean error": Quotient(error, every, False), "mean absolute error": Quotient(np.abs(error), every, False)}


def named_small(small: Sequence[tuple[str, int]], least: int) -> str:
    """`` Too few rows to judge (under 50): x (12), y (3).``; empty where there are none."""
    if not small:
        return ""
    shown = ", ".join(f"{name} ({rows})" for name, rows in small[:5])
    more = f" and {len(small) - 5:,} more" if len(small) > 5 else ""
    return f" Too few rows to judge (under {least}): {shown}{more}."
