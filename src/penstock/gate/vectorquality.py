"""The questions of quality that can be asked of vectors (part of ``gate``; `penstock.gate.checks.quality` asks them).

What comes in: a candidate that answers vectors. What goes out: findings: different rows get different vectors; where
labels were given, the vectors tell them better than guessing, and no worse than the champion's do. Where none were
given, quality is not shown, and the policy says whether that blocks.
"""

from __future__ import annotations

from collections.abc import Callable

from penstock.gate.answers import answer
from penstock.gate.check import Candidate, LabelledRows, Question, Shown
from penstock.gate.evidence import evidence
from penstock.gate.vectors import (
    distinct_share,
    likened,
    probed,
    rank_correlation,
    vectors_of,
)
from penstock.records import Finding, Scalar
from penstock.runtime.engine import Engine
from penstock.statistics.intervals import NotEstimable, estimate, improvement, skill
from penstock.statistics.metrics import Answers, Metric, fitting

Ask = Callable[[str, str], Question]
_HOW_TO = "Give rows with --label COLUMN: a class, a number, or with a second column of texts how alike a pair is."


def vector_findings(candidate: Candidate, ask: Ask, *, distinct: float, margin: float, min_rows: int) -> list[Finding]:
    """Whether vectors differ, tell their labels, and do so as well as the champion's.

    Args:
        candidate: Its answers are valid.
        ask: A question of the check by key and title.
        distinct: Least share of different rows that get vectors of their own.
        margin: Worse than the champion by this much is still no worse.
        min_rows: Fewer show nothing.
    """
    rows = candidate.data.validation
    found = [_distinct(candidate, ask("distinct", "Do different rows get different vectors?"), distinct)]
    question = ask("skill", "Do its vectors tell more than guessing?")
    if not rows.labelled:
        return [*found, question.missing("Not shown: nothing is known of these rows to hold the vectors to.", _HOW_TO)]
    if len(rows) < min_rows:
        said = f"Only {len(rows)} validation rows were given; {min_rows} are the least that show anything."
        return [*found, question.unknown(said, "Give more labelled rows.")]
    told = _told(candidate, candidate.engine, rows)
    if told is None:
        said = "Not shown: the labels are neither classes nor numbers that rows share."
        return [*found, question.missing(said, _HOW_TO)]
    return [*found, _skill(candidate, question, told), _champion(candidate, ask, told, margin)]


def _distinct(candidate: Candidate, question: Question, limit: float) -> Finding:
    share, rows = distinct_share(candidate.data.validation.inputs, vectors_of(candidate.outputs))
    shown = Shown(measured={"distinct": share, "rows": rows}, limits={"distinct": limit})
    if rows < 2:
        return question.unknown("Not shown: there are no two different rows.", "Give more rows.", shown)
    said = f"{share:.1%} of {rows:,} different rows have a vector of their own"
    if share >= limit:
        return question.passed(f"Yes: {said}.", shown)
    return question.refused(
        f"No: {said}; {limit:.0%} are the least.",
        "It has collapsed, or does not know its words: train it again.",
        shown,
    )


def _skill(candidate: Candidate, question: Question, told: Answers) -> Finding:
    metric, units = _leading(told), candidate.data.units("validation")
    found = estimate(metric.name, told, units, precision=candidate.precision)
    gain = skill(metric.name, told, units, precision=candidate.precision)
    if isinstance(found, NotEstimable) or isinstance(gain, NotEstimable):
        reason = next(one.reason for one in (found, gain) if isinstance(one, NotEstimable))
        return question.unknown(f"The {metric.title} cannot be told: {reason}.", "Give rows that can tell it.")
    guess = found.value - gain.value
    measured: dict[str, Scalar] = {metric.name: found.value, "low": found.low, "high": found.high, "rows": found.rows}
    rows = candidate.data.validation
    how = "the class whose mean vector lies nearest, in folds" if told.classes else "a ridge regression, in folds"
    if rows.paired is not None:
        how = "the cosine of each pair"
        cosine = told.scores[:, 1] if told.scores is not None else told.answer
        measured["spearman"] = rank_correlation(cosine, rows.labels.reshape(-1).astype(float))
    shown = Shown(
        measured=measured, limits={"guessing": guess}, evidence=evidence(notes=[f"Probe: {how}. {found.method}."])
    )
    said = (
        f"{metric.title} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) by {how}; guessing gives {guess:.3f}"
    )
    if gain.low > 0:
        return question.passed(f"Yes: {said}.", shown)
    if gain.high < 0:
        remedy = "Do not release it; look for a fault in training, or in what the labels mean."
        return question.refused(f"No: {said}.", remedy, shown)
    # What a probe does not find may be there all the same.
    return question.unknown(f"Not shown: {said}, inside the interval.", "Give more labelled rows, or others.", shown)


def _champion(candidate: Candidate, ask: Ask, told: Answers, margin: float) -> Finding:
    question = ask("champion", "Is it at least as good as the champion?")
    other = None if candidate.champion is None else _told(candidate, candidate.champion, candidate.data.validation)
    if other is None:
        return question.missing("There is no champion to compare with: this would be the first.", "")
    metric, units = _leading(told), candidate.data.units("validation")
    found = improvement(metric.name, told, other, units, precision=candidate.precision)
    if isinstance(found, NotEstimable):
        return question.unknown(f"The difference cannot be told: {found.reason}.", "Give rows that can tell it.")
    shown = Shown(
        measured={"difference": found.value, "low": found.low, "high": found.high, "rows": found.rows},
        limits={"margin": margin},
    )
    said = f"its {metric.title} is better by {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
    if found.low >= -margin:
        return question.passed(f"Yes: {said}; down to -{margin:g} counts as no worse.", shown)
    if found.high < 0 and found.value < -margin:
        return question.refused(f"No: {said}.", "Keep the champion; train a better one.", shown)
    return question.unknown(f"Not shown: {said}.", "Give more labelled rows.", shown)


def _told(candidate: Candidate, engine: Engine, rows: LabelledRows) -> Answers | None:
    """What an engine's vectors say of the rows' labels."""
    mine = candidate.outputs if engine is candidate.engine else answer(engine, rows.inputs)
    if rows.paired is not None:
        return likened(
            vectors_of(mine), vectors_of(answer(engine, rows.paired)), rows.labels, seed=candidate.precision.seed
        )
    return probed(vectors_of(mine), rows.labels, seed=candidate.precision.seed)


def _leading(told: Answers) -> Metric:
    """Accuracy of several classes: cosines are no probabilities, and AUC is of two."""
    possible = fitting(told)
    return next((one for one in possible if one.name == ("auc" if told.classes == 2 else "accuracy")), possible[0])
