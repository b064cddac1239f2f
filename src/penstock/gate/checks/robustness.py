"""Stage 2, gate: does it stay sane on rows a little, or a lot, unlike those it knows?

What comes in: up to 2,000 validation rows. What goes out: findings on noise, missing values, numbers out of range
and unseen text, and on what people write with other spaces and slips of the pen: answers stay valid, labels hardly
flip, the metric hardly falls.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from penstock.gate.answers import answer, answers_of
from penstock.gate.check import Candidate, CheckLimits, LabelledRows, Question, Shown
from penstock.gate.evidence import bars, counted, evidence, table
from penstock.gate.freeform import answers_bodies, is_freeform
from penstock.gate.handlers import handler_findings
from penstock.gate.perturbations import (
    beyond,
    noisy,
    number_inputs,
    odd_texts,
    prose_inputs,
    respaced,
    slipped,
    unseen,
    without,
)
from penstock.gate.replies import ProbeReply, cost_of, replies_of, reply_of, share_moved, unjudged_reply
from penstock.gate.vectorrobustness import SLIPS, SPACES, steady_findings
from penstock.gate.vectors import answers_vectors
from penstock.records import Finding, Scalar
from penstock.statistics.metrics import Answers, Metric, fitting
from penstock.tensors import Signature


class RobustnessLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `RobustnessCheck`.

    Attributes:
        noise: Noise as a share of each column's standard deviation.
        flips: Largest share of rows whose label changes under that noise, or other spaces; of a regression, the
            largest move of an answer as a share of the answers' standard deviation.
        drop: How much of the leading metric the noise may cost.
        missing_drop: How much of it one missing column may cost.
        rows: Validation rows taken, at most.
        min_rows: Fewer show nothing.
        near: Of a model that answers vectors, the least cosine between a text's and that of the same text spaced
            otherwise, but for one row in twenty.
    """

    advisory: tuple[str, ...] = ("missing-drop", "refusals", "slip")
    noise: float = 0.05
    flips: float = 0.25
    drop: float = 0.03
    missing_drop: float = 0.2
    rows: int = 2000
    min_rows: int = 50
    near: float = 0.95


_NOISE = "Regularise it, or train it with noise: it hangs on digits that the world does not hold still."


class RobustnessCheck:
    """Noise, missing, out of range, unseen."""

    name: ClassVar[str] = "robustness"
    Limits: ClassVar[type[CheckLimits]] = RobustnessLimits

    def __init__(self, limits: RobustnessLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Noise first; then each column on its own."""
        if answers_bodies(candidate.package.manifest):
            return handler_findings(candidate, self._question)
        rows = _sample(candidate, self.limits.rows)
        noise = self._question("noise", "Does a little noise leave its answers alone?")
        if len(rows) < self.limits.min_rows:
            return [
                noise.unknown(
                    f"Only {len(rows)} rows were given; {self.limits.min_rows} are the least that show anything.",
                    "Give more labelled rows.",
                )
            ]
        signature = candidate.package.manifest.signature
        if answers_vectors(candidate.package.manifest):
            return self._of_vectors(candidate, rows, signature)
        if is_freeform(candidate.package.manifest):
            return self._of_freeform(candidate, rows, signature)
        outputs = answer(candidate.engine, rows.inputs)
        if not rows.labelled:  # then it is held to what it says itself
            rows = dataclasses.replace(rows, labels=outputs.get("label", outputs.get("prediction", rows.labels)))
        plain = answers_of(candidate.package.manifest, rows.labels, outputs)
        metric = fitting(plain)[0]
        gone = list(replies_of(candidate, rows, without(rows.inputs, signature)))
        far = list(replies_of(candidate, rows, beyond(rows.inputs, signature)))
        strange = list(replies_of(candidate, rows, unseen(rows.inputs, signature)))
        prose = prose_inputs(rows.inputs, signature)
        strange += [unjudged_reply(candidate, kind, inputs) for kind, inputs in odd_texts(rows.inputs, prose)]
        kind = "text of every odd kind" if prose else "text it has never seen"
        return [
            *self._noise(candidate, rows, plain, metric, prose),
            *self._missing(plain, metric, gone),
            self._valid("range", "Does it stay valid on numbers out of range?", far),
            self._valid("unseen", f"Does it stay valid on {kind}?", strange),
            *self._refusals([*far, *strange]),
        ]

    def _of_vectors(self, candidate: Candidate, rows: LabelledRows, signature: Signature) -> list[Finding]:
        """They have no label that flips; they lie near each other, or apart."""
        texts = tuple(spec.name for spec in signature.inputs if spec.datatype == "BYTES")
        odd = [unjudged_reply(candidate, kind, inputs) for kind, inputs in odd_texts(rows.inputs, texts)]
        far = [unjudged_reply(candidate, name, inputs) for name, inputs in beyond(rows.inputs, signature)]
        gone = [unjudged_reply(candidate, name, inputs) for name, inputs in without(rows.inputs, signature)]
        return [
            *steady_findings(candidate, self._question, rows, near=self.limits.near),
            self._valid("missing", "Does it stay valid when a value is missing?", gone),
            self._valid("range", "Does it stay valid on numbers out of range?", far),
            self._valid("unseen", "Does it stay valid on text of every odd kind?", odd),
            *self._refusals([*far, *odd]),
        ]

    def _of_freeform(self, candidate: Candidate, rows: LabelledRows, signature: Signature) -> list[Finding]:
        """No label flips and no metric falls; what is left to ask is whether an answer comes."""
        noise = noisy(rows.inputs, signature, share=self.limits.noise, seed=candidate.precision.seed)
        far = [unjudged_reply(candidate, name, inputs) for name, inputs in beyond(rows.inputs, signature)]
        gone = [unjudged_reply(candidate, name, inputs) for name, inputs in without(rows.inputs, signature)]
        strange = [unjudged_reply(candidate, name, inputs) for name, inputs in unseen(rows.inputs, signature)]
        return [
            self._valid(
                "noise", "Does it stay valid under a little noise?", [unjudged_reply(candidate, "every column", noise)]
            ),
            self._valid("missing", "Does it stay valid when a value is missing?", gone),
            self._valid("range", "Does it stay valid on numbers out of range?", far),
            self._valid("unseen", "Does it stay valid on text it has never seen?", strange),
            *self._refusals([*far, *strange]),
        ]

    def _noise(
        self, candidate: Candidate, rows: LabelledRows, plain: Answers, metric: Metric, prose: tuple[str, ...]
    ) -> list[Finding]:
        """Numbers get noise, texts other spaces and slips of the pen; where there is neither, that is said."""
        share, seed = self.limits.noise, candidate.precision.seed
        signature, inputs = candidate.package.manifest.signature, rows.inputs
        noise = self._question("noise", "Does a little noise leave its answers alone?")
        found = []
        if number_inputs(signature):
            reply = reply_of(candidate, rows, "every column", noisy(inputs, signature, share=share, seed=seed))
            how = f"with noise of {share:.0%} of each column's spread"
            found += [self._steady(noise, how, reply, plain, metric, _NOISE, {"noise": share})]
        elif not prose:
            found += [noise.passed("There is no column of numbers to which this can happen.")]
        if prose:
            spacing = self._question("spacing", "Do other spaces leave its answers alone?")
            reply = reply_of(candidate, rows, "texts", respaced(inputs, prose))
            found += [self._steady(spacing, "with other spaces between words", reply, plain, metric, SPACES)]
            slip = self._question("slip", "Does a slip of the pen leave its answers alone?")
            reply = reply_of(candidate, rows, "texts", slipped(inputs, prose, seed=seed))
            found += [self._steady(slip, "with one letter of each text another", reply, plain, metric, SLIPS)]
        return found

    def _steady(
        self,
        question: Question,
        how: str,
        reply: ProbeReply,
        plain: Answers,
        metric: Metric,
        remedy: str,
        under: dict[str, Scalar] | None = None,
    ) -> Finding:
        """Hold what changed rows are answered to what the rows themselves are."""
        limits = self.limits
        if reply.answers is None:
            return question.refused(f"No: {how}, {reply.fault}.", "Mend the model; such rows will come.")
        share, fall = share_moved(plain, reply.answers), cost_of(metric, plain, reply.answers)
        shown = Shown(
            measured={"moved": share, "drop": fall, "rows": len(plain.answer)},
            limits={**(under or {}), "flips": limits.flips, "drop": limits.drop},
            evidence=evidence(notes=[f"On {len(plain.answer):,} rows drawn from the validation file."]),
        )
        kind = "of its labels change" if plain.classes else "of their spread its answers move"
        said = f"{how}, {share:.1%} {kind} and the {metric.title} falls by {fall:.4f}"
        if share <= limits.flips and fall <= limits.drop:
            return question.passed(f"Yes: {said}.", shown)
        return question.refused(f"No: {said}; the limits are {limits.flips:.1%} and {limits.drop:g}.", remedy, shown)

    def _missing(self, plain: Answers, metric: Metric, replies: list[ProbeReply]) -> list[Finding]:
        """Validity, and what the worst missing column costs; nothing where no column may be missing."""
        found = [self._valid("missing", "Does it stay valid when a value is missing?", replies)]
        costs = [(one.column, cost_of(metric, plain, one.answers)) for one in replies if one.answers is not None]
        if not costs:
            return found
        costs.sort(key=lambda one: -one[1])
        worst, cost = costs[0]
        question = self._question("missing-drop", "Does it do without any one column?")
        drawn = [(name, fall, fall, fall) for name, fall in costs[:12]]
        shown = Shown(
            measured={"worst_column": worst, "drop": cost},
            limits={"missing_drop": self.limits.missing_drop},
            evidence=evidence(
                [bars(f"Fall of {metric.title} without a column", drawn, limit=self.limits.missing_drop)]
            ),
        )
        said = f"without {worst}, the column it needs most, the {metric.title} falls by {cost:.4f}"
        if cost <= self.limits.missing_drop:
            return [*found, question.passed(f"Yes: {said}.", shown)]
        remedy = f"Watch {worst} for missing values: the schema monitor pages on it."
        return [*found, question.refused(f"No: {said}; the limit is {self.limits.missing_drop:g}.", remedy, shown)]

    def _valid(self, key: str, title: str, replies: list[ProbeReply]) -> Finding:
        """Every row still gets a finite answer in its range; raising is refusing, which `_refusals` tells."""
        question = self._question(key, title)
        if not replies:
            return question.passed("There is no column to which this can happen.")
        bad = [one for one in replies if one.fault and not one.raised]
        outcomes: list[dict[str, Scalar]] = [
            {"column": one.column, "answers": one.fault or "valid", "raised": one.raised} for one in replies
        ]
        shown = Shown(
            measured={"columns": len(replies), "invalid": len(bad)},
            limits={"invalid": 0},
            evidence=evidence(tables=[table("Column by column", outcomes)]),
        )
        if not bad:
            return question.passed(
                f"Yes: tried on {counted(len(replies), 'column')}, one at a time, its answers stay valid.", shown
            )
        return question.refused(
            f"No: on {bad[0].column}, {bad[0].fault}; {len(bad)} of {counted(len(replies), 'column')} do so.",
            "Clip or impute in the pipeline, before the model.",
            shown,
        )

    def _refusals(self, replies: list[ProbeReply]) -> list[Finding]:
        """A visible error is better than a wrong answer, yet nobody gets an answer."""
        raising = [one.column for one in replies if one.raised]
        if not raising:
            return []
        question = self._question("refusals", "Does it answer every row of the right type?")
        return [
            question.refused(
                f"No: it raises on a number out of range or on unseen text in {', '.join(raising[:5])}.",
                "Let encoders ignore what they do not know (OneHotEncoder: handle_unknown='ignore').",
                Shown(measured={"raising": len(raising)}, limits={"raising": 0}),
            )
        ]

    def _question(self, key: str, title: str) -> Question:
        return Question(self.name, key, title, self.limits)


def _sample(candidate: Candidate, most: int) -> LabelledRows:
    rows = candidate.data.validation
    if len(rows) <= most:
        return rows
    drawn = np.random.default_rng(candidate.precision.seed).choice(len(rows), size=most, replace=False)
    return rows.take(np.sort(drawn))
