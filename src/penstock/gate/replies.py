"""What a model says to changed rows, and how far that is from what it said before (part of ``gate``).

What comes in: a candidate and rows that are not quite those of the file. What goes out: valid answers, or what is wrong
with them in words; the share of labels that flipped, and what a metric lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from penstock.errors import PenstockError
from penstock.gate.answers import answer, answers_of, fault, scores_of
from penstock.gate.check import Candidate, LabelledRows
from penstock.statistics.metrics import Answers, Metric, value
from penstock.tensors import Arrays


class ProbeReply(NamedTuple):
    """What the model did with changed rows: valid answers, or what was wrong, or that it raised."""

    column: str
    answers: Answers | None
    fault: str
    raised: bool


def replies_of(candidate: Candidate, rows: LabelledRows, changed: Iterator[tuple[str, Arrays]]) -> Iterator[ProbeReply]:
    """One for each kind of change."""
    for column, inputs in changed:
        yield reply_of(candidate, rows, column, inputs)


def reply_of(candidate: Candidate, rows: LabelledRows, column: str, inputs: Arrays) -> ProbeReply:
    """Ask the engine; that it raises is an answer too."""
    try:
        outputs = answer(candidate.engine, inputs)
    except PenstockError:
        return ProbeReply(column, None, "the model raises", True)
    wrong = fault(candidate.package.manifest, outputs, len(rows))
    if wrong:
        return ProbeReply(column, None, wrong, False)
    if not np.isfinite(scores_of(outputs)).all():
        return ProbeReply(column, None, "some scores are not finite", False)
    return ProbeReply(column, answers_of(candidate.package.manifest, rows.labels, outputs), "", False)


def unjudged_reply(candidate: Candidate, column: str, inputs: Arrays) -> ProbeReply:
    """As `reply_of`, of what has no truth."""
    try:
        outputs = answer(candidate.engine, inputs)
    except PenstockError:
        return ProbeReply(column, None, "the model raises", True)
    wrong = fault(candidate.package.manifest, outputs, len(next(iter(inputs.values()))))
    return ProbeReply(column, None, wrong, False)


def share_moved(plain: Answers, changed: Answers) -> float:
    """Share of labels that flipped; of a regression, the mean move in standard deviations of the answers."""
    if plain.classes:
        return float((plain.answer != changed.answer).mean())
    spread = float(plain.answer.std())
    return float(np.abs(plain.answer - changed.answer).mean()) / spread if spread > 0 else 0.0


def cost_of(metric: Metric, plain: Answers, changed: Answers) -> float:
    """How much worse the metric is; never below 0."""
    before, after = value(metric.name, plain), value(metric.name, changed)
    if before is None or after is None:
        return 0.0
    return max((before - after) * (1 if metric.higher else -1), 0.0)
