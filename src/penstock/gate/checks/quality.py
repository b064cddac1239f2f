"""Stage 2, gate: is it good enough, against guessing, a floor and the champion?

What comes in: answers on the validation rows. What goes out: findings with intervals. A figure is held against a
limit with the end of its interval that is worse for the candidate: what is not shown does not pass.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from penstock.gate.answers import fault
from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.evidence import bars, curve, evidence, table
from penstock.gate.freeform import is_freeform
from penstock.gate.slices import Slice, slices_of
from penstock.gate.unjudged import unjudged_findings
from penstock.gate.vectorquality import vector_findings
from penstock.gate.vectors import answers_vectors
from penstock.records import JSON, Finding, Scalar
from penstock.statistics.intervals import Estimate, NotEstimable, estimate, improvement, skill
from penstock.statistics.metrics import METRICS, Answers, Metric, fitting, reliability

CURVE_POINTS = 120


class QualityLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `QualityCheck`.

    Attributes:
        metric: The leading metric; ``auto`` takes AUC, else accuracy, else R².
        floors: Metric -> what it must reach with confidence.
        margin: Worse than the champion by this much of the leading metric is still no worse.
        min_rows: Fewer validation rows show nothing.
        calibration: Largest calibration error.
        slice_gap: How far the leading metric of one part of the data may lie under the whole's.
        distinct: Of a model that answers vectors, the least share of different rows with a vector of their own.
    """

    advisory: tuple[str, ...] = ("calibration", "slices")
    metric: str = "auto"
    floors: dict[str, float] = {}
    margin: float = 0.01
    min_rows: int = 100
    calibration: float = 0.1
    slice_gap: float = 0.15
    distinct: float = 0.9


class QualityCheck:
    """Quality with intervals."""

    name: ClassVar[str] = "quality"
    Limits: ClassVar[type[CheckLimits]] = QualityLimits

    def __init__(self, limits: QualityLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Valid answers first; then skill, floors, champion, calibration, slices."""
        if is_freeform(candidate.package.manifest):
            return unjudged_findings(candidate, self._question)
        valid = self._question("valid", "Does it answer every validation row?")
        rows = len(candidate.data.validation)
        wrong = fault(candidate.package.manifest, candidate.outputs, rows)
        if wrong:
            return [valid.refused(f"No: {wrong}.", "Mend the model; every row must get a finite, valid answer.")]
        if answers_vectors(candidate.package.manifest):
            limits = self.limits
            return vector_findings(
                candidate, self._question, distinct=limits.distinct, margin=limits.margin, min_rows=limits.min_rows
            )
        if not candidate.data.validation.labelled:
            return [
                self._question("labels", "Is it better than guessing?").unknown(
                    "Not shown: nobody said which column is the truth.",
                    "Say --label COLUMN; where there is no truth, a policy lets it pass (quality, advisory: [labels]).",
                )
            ]
        if rows < self.limits.min_rows:
            return [
                self._question("skill", "Is it better than guessing?").unknown(
                    f"Only {rows} validation rows were given; {self.limits.min_rows} are the least that show anything.",
                    "Give more labelled rows.",
                    Shown(measured={"rows": rows}, limits={"min_rows": self.limits.min_rows}),
                )
            ]
        metric = leading(candidate.validated, self.limits.metric)
        return [
            self._skill(candidate, metric),
            *(self._floor(candidate, METRICS[name], floor) for name, floor in self.limits.floors.items()),
            self._against_champion(candidate, metric),
            *self._calibration(candidate),
            *self._slices(candidate, metric),
        ]

    def _skill(self, candidate: Candidate, metric: Metric) -> Finding:
        question = self._question("skill", "Is it better than guessing?")
        answers, units = candidate.validated, candidate.data.units("validation")
        found = candidate.estimated(metric.name)
        gain = skill(metric.name, answers, units, precision=candidate.precision)
        if isinstance(found, NotEstimable) or isinstance(gain, NotEstimable):
            reason = found.reason if isinstance(found, NotEstimable) else gain.reason  # type: ignore[union-attr]
            return question.unknown(f"The {metric.title} cannot be told: {reason}.", "Give rows that can tell it.")
        guess = found.value - gain.value if metric.higher else found.value + gain.value
        shown = Shown(
            measured={metric.name: found.value, "low": found.low, "high": found.high, "rows": found.rows},
            limits={"guessing": guess},
            evidence=evidence(_plots(answers), [_every_metric(candidate)], [f"Interval: {found.method}."]),
        )
        said = f"{metric.title} {words(found)} on {found.rows:,} rows; guessing gives {guess:.3f}"
        if gain.low > 0:
            return question.passed(f"Yes: {said}.", shown)
        if gain.high < 0 or gain.value <= 0:
            return question.refused(f"No: {said}.", "Do not release it; look for a fault in training or labels.", shown)
        return question.unknown(f"Not shown: {said}, inside the interval.", "Give more labelled rows.", shown)

    def _floor(self, candidate: Candidate, metric: Metric, floor: float) -> Finding:
        question = self._question(f"floor:{metric.name}", f"Does its {metric.title} reach the floor?")
        found = candidate.estimated(metric.name)
        if isinstance(found, NotEstimable):
            return question.unknown(f"The {metric.title} cannot be told: {found.reason}.", "Give rows that tell it.")
        shown = Shown(
            measured={metric.name: found.value, "low": found.low, "high": found.high},
            limits={"floor": floor},
            evidence=evidence([bars(metric.title, [("candidate", found.value, found.low, found.high)], limit=floor)]),
        )
        said = f"{metric.title} {words(found)} against a floor of {floor:g}"
        better, worse = (found.low, found.high) if metric.higher else (-found.high, -found.low)
        wanted = floor if metric.higher else -floor
        if better >= wanted:
            return question.passed(f"Yes: {said}.", shown)
        if worse < wanted:
            return question.refused(
                f"No: {said}.", "Train a better model, or lower the floor if it was a guess.", shown
            )
        return question.unknown(f"Not shown: {said}, inside the interval.", "Give more labelled rows.", shown)

    def _against_champion(self, candidate: Candidate, metric: Metric) -> Finding:
        question = self._question("champion", "Is it at least as good as the champion?")
        other = candidate.championed
        if other is None:
            return question.missing("There is no champion to compare with: this would be the first.", "")
        units = candidate.data.units("validation")
        found = improvement(metric.name, candidate.validated, other, units, precision=candidate.precision)
        if isinstance(found, NotEstimable):
            return question.unknown(f"The difference cannot be told: {found.reason}.", "Give rows that can tell it.")
        margin = self.limits.margin
        both = {
            "candidate": candidate.estimated(metric.name),
            candidate.champion_name or "champion": estimate(metric.name, other, units, precision=candidate.precision),
        }
        drawn = [(name, one.value, one.low, one.high) for name, one in both.items() if isinstance(one, Estimate)]
        shown = Shown(
            measured={"difference": found.value, "low": found.low, "high": found.high, "rows": found.rows},
            limits={"margin": margin},
            evidence=evidence([bars(f"{metric.title} on the same rows", drawn)], notes=[f"Paired: {found.method}."]),
        )
        said = f"its {metric.title} is better by {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"
        if found.low >= -margin:
            return question.passed(f"Yes: {said}; down to -{margin:g} counts as no worse.", shown)
        if found.high < 0 and found.value < -margin:
            return question.refused(
                f"No: {said}; down to -{margin:g} counts as no worse.", "Keep the champion; train a better one.", shown
            )
        return question.unknown(
            f"Not shown: {said}; the interval reaches below -{margin:g}.", "Give more labelled rows.", shown
        )

    def _calibration(self, candidate: Candidate) -> list[Finding]:
        """Only of probabilities."""
        answers = candidate.validated
        if not answers.probable:
            return []
        question = self._question("calibration", "Do its probabilities come true?")
        found = candidate.estimated("calibration_error")
        if isinstance(found, NotEstimable):
            return [question.unknown(f"That cannot be told: {found.reason}.", "Give rows that can tell it.")]
        bins = reliability(answers)
        lines = {"candidate": ([one.said for one in bins], [one.came for one in bins])}
        counts: list[dict[str, Scalar]] = [
            {"rows": one.rows, "probability said": one.said, "share that came true": one.came} for one in bins
        ]
        shown = Shown(
            measured={"calibration_error": found.value, "low": found.low, "high": found.high},
            limits={"calibration": self.limits.calibration},
            evidence=evidence(
                [curve("Reliability", ("probability said", "share that came true"), lines)],
                [table("Reliability, in bins of equal rows", counts)],
            ),
        )
        said = f"what it says and what comes true are {found.value:.3f} apart ({found.low:.3f} to {found.high:.3f})"
        said += _learned_here(candidate)
        if found.value <= self.limits.calibration:
            return [question.passed(f"Yes: {said} on average.", shown)]
        remedy = "Calibrate it on held-out rows (isotonic or Platt), or do not read its scores as probabilities."
        return [question.refused(f"No: {said} on average; the limit is {self.limits.calibration:g}.", remedy, shown)]

    def _slices(self, candidate: Candidate, metric: Metric) -> list[Finding]:
        """Only where the data have columns that cut them."""
        found = slices_of(candidate, metric)
        whole = candidate.estimated(metric.name)
        if not found or isinstance(whole, NotEstimable):
            return []
        question = self._question("slices", "Does it hold in every part of the data?")
        worst = min(found, key=lambda one: _under(metric, whole, one))
        shown = Shown(
            measured={"slices": len(found), "worst": worst.found.value, "worst_rows": worst.found.rows},
            limits={"slice_gap": self.limits.slice_gap},
            evidence=evidence([_slice_bars(metric, whole, found)]),
        )
        said = f"{worst.name} has {metric.title} {words(worst.found)}, the whole {whole.value:.3f}"
        high = worst.found.high if metric.higher else -worst.found.low
        wanted = whole.value if metric.higher else -whole.value
        if high >= wanted - self.limits.slice_gap:
            return [question.passed(f"Yes, of {len(found)} slices the weakest holds: {said}.", shown)]
        return [
            question.refused(f"No: {said}.", "Look at these rows; get more of them, or do not answer on them.", shown)
        ]

    def _question(self, key: str, title: str) -> Question:
        return Question(self.name, key, title, self.limits)


def leading(answers: Answers, wanted: str = "auto") -> Metric:
    """The metric that stands for quality: the policy's if the answers can give it, else the first that fits."""
    possible = fitting(answers)
    return next((metric for metric in possible if metric.name == wanted), possible[0])


def words(found: Estimate) -> str:
    """``0.689 (0.671 to 0.707)``."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _under(metric: Metric, whole: Estimate, one: Slice) -> float:
    """How far a slice lies above the whole, in the metric's good direction."""
    return (one.found.value - whole.value) * (1 if metric.higher else -1)


def _slice_bars(metric: Metric, whole: Estimate, found: list[Slice]) -> JSON:
    ranked = sorted(found, key=lambda one: _under(metric, whole, one))[:12]
    rows = [(one.name, one.found.value, one.found.low, one.found.high) for one in ranked]
    return bars(f"{metric.title} by slice, weakest first", rows, limit=round(whole.value, 4), beside="the whole")


def _every_metric(candidate: Candidate) -> JSON:
    """A table of all that these answers can be held to, beside guessing."""
    answers = candidate.validated
    ones = np.ones(len(answers))
    rows: list[dict[str, Scalar]] = []
    for metric in fitting(answers):
        value = metric.statistic(answers)(ones)
        if np.isfinite(value):
            rows.append({"metric": metric.title, "candidate": value, "guessing": float(metric.trivial(answers)(ones))})
    return table("Every metric", rows)


def _plots(answers: Answers) -> list[JSON]:
    """The ROC curve of two classes; predicted against true values of a regression has no unit square."""
    if answers.classes != 2 or answers.scores is None:
        return []
    order = np.argsort(-answers.scores[:, -1], kind="stable")
    positive = answers.truth[order] == 1
    if positive.all() or not positive.any():
        return []
    ends = np.append(np.flatnonzero(np.diff(answers.scores[order, -1])), len(order) - 1)
    up = np.concatenate([[0], np.cumsum(positive)[ends] / positive.sum()])
    across = np.concatenate([[0], np.cumsum(~positive)[ends] / (~positive).sum()])
    keep = np.unique(np.linspace(0, len(up) - 1, CURVE_POINTS).astype(int))
    line = {"candidate": (across[keep].tolist(), up[keep].tolist())}
    return [curve("ROC", ("false alarms, share of negatives", "found, share of positives"), line)]


def _learned_here(candidate: Candidate) -> str:
    """A note where its calibration was learned from the very rows that it is judged on."""
    manifest = candidate.package.manifest
    steps = manifest.transforms.steps if manifest.transforms is not None else ()
    part = next((step.learned_from.partition(",")[0] for step in steps if step.name == "calibrate"), "")
    learned = {one.digest for one in manifest.datasets if one.role == part}
    judged = {one.digest for one in candidate.data.datasets if one.role == "validation"}
    return ", on the rows that it was calibrated on," if learned & judged else ""
