"""Stage 2, gate: will it do as well on rows that it has not seen, or does the holdout flatter it?

What comes in: train, validation and test rows, with the time and the group of each where given. What goes out:
findings on the gaps between the parts, and on three ways in which a holdout leaks: days (or groups) that lie in
both files, rows that lie in both, and one and the same file.

On the flights of New York a holdout of random rows says AUC .797; by whole days it is .689. Flights of one day
share its weather and its queues, so a row's neighbours in the train file give its answer away.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.evidence import bars, evidence
from penstock.gate.features import features_of, row_keys
from penstock.gate.surrogate import Optimism, optimism
from penstock.gate.units import BoolArray, is_epoch, shared
from penstock.records import Finding, Scalar
from penstock.statistics.intervals import Estimate, NotEstimable, estimate
from penstock.statistics.metrics import METRICS, Answers, IntArray, Metric, fitting, value

_ONE_SIDED = 1.645


class Told(NamedTuple):
    """What is known of an overlap before it is weighed: in words, the remedy, what a unit is called, the figures."""

    said: str
    remedy: str
    unit: str
    shown: Shown


class GeneralizationLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `GeneralizationCheck`.

    Attributes:
        train_gap: How much better the leading metric may be on the rows it was trained on.
        test_gap: How much better it may be on the validation rows than on the test rows.
        overlap: Share of validation rows of a unit that the train file has too, from which the leak is measured.
        optimism: Largest leak, in the leading metric.
        duplicates: Share of validation rows that lie in the train file, from which their effect is measured.
        min_rows: Fewer rows in a part show nothing.
    """

    train_gap: float = 0.2
    test_gap: float = 0.05
    overlap: float = 0.02
    optimism: float = 0.02
    duplicates: float = 0.01
    min_rows: int = 100


class GeneralizationCheck:
    """Gaps and leaks."""

    name: ClassVar[str] = "generalization"
    Limits: ClassVar[type[CheckLimits]] = GeneralizationLimits

    def __init__(self, limits: GeneralizationLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """The same file twice settles it; else gaps, then leaks."""
        twice = self._same_file(candidate)
        if twice is not None:
            return [twice]
        data = candidate.data
        leak = self._question("leak", "Is the holdout honest?")
        if not candidate.judged_by_labels:
            return [
                leak.missing(
                    "Not shown: without labels there is no figure that a holdout could flatter.",
                    candidate.labels_wanted,
                )
            ]
        if len(data.validation) < self.limits.min_rows:
            return [
                leak.unknown(
                    f"Only {len(data.validation)} validation rows were given;"
                    f" {self.limits.min_rows} are the least that show anything.",
                    "Give more labelled rows.",
                )
            ]
        if data.train is None:
            remedy = (
                "Check with --data train=FILE --data validation=FILE; --time or --group COLUMN are said at packaging."
            )
            return [leak.missing("Not shown: no train file was given to hold the holdout against.", remedy)]
        return [
            self._gap(candidate, "train", candidate.trained),
            *([self._gap(candidate, "test", candidate.tested)] if data.test is not None else []),
            *self._leaks(candidate),
            self._duplicates(candidate),
        ]

    def _same_file(self, candidate: Candidate) -> Finding | None:
        """The validation file is the one it was trained on."""
        mine = {one.digest for one in candidate.data.datasets if one.role == "validation"}
        every = (*candidate.data.datasets, *candidate.package.manifest.datasets)
        if not mine & {one.digest for one in every if one.role == "train"}:
            return None
        return self._question("leak", "Is the holdout honest?").refused(
            "No: the validation file is the file that it was trained on (same digest).",
            "Hold rows back before training, by whole days or groups, and check on those.",
        )

    # -- gaps ------------------------------------------------------------------------------------

    def _gap(self, candidate: Candidate, part: str, answers: Answers | None) -> Finding:
        """Train against validation, or validation against test."""
        is_train = part == "train"
        title = "Does it hold on rows that it was not trained on?" if is_train else "Does it hold on the test rows?"
        question = self._question(f"{part}-gap", title)
        metric = fitting(candidate.validated)[0]
        seen = candidate.estimated(metric.name)
        other = NotEstimable("there are no rows") if answers is None else estimate(metric.name, answers)
        if isinstance(seen, NotEstimable) or isinstance(other, NotEstimable):
            reason = next(one.reason for one in (seen, other) if isinstance(one, NotEstimable))
            return question.unknown(f"The {metric.title} cannot be told: {reason}.", "Give rows that tell it.")
        limit = self.limits.train_gap if is_train else self.limits.test_gap
        gap, low = _gap(metric, *((other, seen) if is_train else (seen, other)))
        drawn = [(name, one.value, one.low, one.high) for name, one in ((part, other), ("validation", seen))]
        shown = Shown(
            measured={part: other.value, "validation": seen.value, "gap": gap, "gap_low": low},
            limits={f"{part}_gap": limit},
            evidence=evidence([bars(metric.title, drawn)]),
        )
        said = f"{metric.title} {other.value:.3f} on {part} rows, {seen.value:.3f} on validation rows"
        if gap <= limit:
            return question.passed(f"Yes: {said}.", shown)
        if low > limit:
            remedy = "It learnt its rows by heart: regularise it, or give it more of them."
            if not is_train:
                remedy = "It was tuned on the validation rows: choose by cross-validation, keep the test rows apart."
            return question.refused(f"No: {said}; a gap of {gap:.3f}, the limit is {limit:g}.", remedy, shown)
        return question.unknown(
            f"Not shown: {said}; the gap may lie on either side of {limit:g}.", "Give more labelled rows.", shown
        )

    # -- leaks -----------------------------------------------------------------------------------

    def _leaks(self, candidate: Candidate) -> list[Finding]:
        data = candidate.data
        found = []
        if data.by_time:
            unit = "days" if is_epoch(data.validation.time) else f"values of {data.time_name}"
            found.append(self._leak(candidate, data.by_time, f"in time ({data.time_name})", unit))
        if data.by_group:
            unit = f"values of {data.group_name}"
            found.append(self._leak(candidate, data.by_group, f"by group ({data.group_name})", unit))
        if found:
            return found
        return [
            self._question("leak", "Is the holdout honest?").missing(
                "Not shown: without a time or group column a holdout of random rows cannot be told from an honest one.",
                "Say at packaging which column is a row's time, or whom it is about: --time COLUMN, --group COLUMN.",
            )
        ]

    def _leak(self, candidate: Candidate, units: dict[str, IntArray], way: str, unit: str) -> Finding:
        """Units in both files, and what they are worth to a surrogate."""
        question = self._question("leak", f"Is the holdout honest {way}?")
        both = shared(units, "train", "validation")
        share = float(both.mean())
        count, common = (len(np.unique(codes)) for codes in (units["validation"], units["validation"][both]))
        measured: dict[str, Scalar] = {"overlap": share, "units": count, "units_in_both": common}
        limits: dict[str, Scalar] = {"overlap": self.limits.overlap, "optimism": self.limits.optimism}
        shown = Shown(measured=measured, limits=limits)
        if share <= self.limits.overlap:
            said = f"of {count} {unit} in the validation file {common or 'none'} are in the train file too"
            return question.passed(f"Yes: {said} ({share:.1%} of the rows).", shown)
        said = f"{share:.0%} of the validation rows are of {unit} that the train file has too ({common} of {count})"
        remedy = f"Hold out whole {unit}: take every 4th, or the last ones, and train on the others."
        train, holdout = candidate.data.train, candidate.data.validation
        found = None
        if train is not None and min(len(train), len(holdout)) >= self.limits.min_rows:
            pair = (units["train"], units["validation"])
            found = optimism(candidate.package.manifest, train, holdout, pair, seed=candidate.precision.seed)
        if found is None:
            return question.unknown(f"Not shown: {said}; what that is worth cannot be told here.", remedy, shown)
        return self._weigh(question, candidate, found, both, Told(said, remedy, unit, shown))

    def _weigh(
        self,
        question: Question,
        candidate: Candidate,
        found: Optimism,
        both: BoolArray,
        told: Told,
    ) -> Finding:
        """Hold the surrogate's optimism against its limit."""
        said, unit = told.said, told.unit
        metric = METRICS[found.metric]
        error = float(np.std(found.folds, ddof=1) / np.sqrt(len(found.folds))) if len(found.folds) > 1 else np.inf
        low = found.value - _ONE_SIDED * error
        drawn = [
            ("holdout as given", found.given, found.given, found.given),
            (f"same rows, whole {unit} held out", found.honest, found.honest, found.honest),
            *_known_and_new(candidate, metric, both),
        ]
        note = (
            f"A small boosted tree of our own, trained on {found.rows:,} rows each time: once on the train file, once"
            f" on rows of other {unit}; asked on the same validation rows, in {len(found.folds)} folds of whole {unit}."
        )
        shown = Shown(
            measured={
                **told.shown.measured,
                "given": found.given,
                "honest": found.honest,
                "optimism": found.value,
                "low": low,
            },
            limits=told.shown.limits,
            evidence=evidence([bars(f"{metric.title} of the surrogate", drawn)], notes=[note]),
        )
        worth = f"that flatters by {found.value:.3f} {metric.title} (a surrogate: {found.given:.3f} against"
        worth += f" {found.honest:.3f} when whole {unit} are held out)"
        if found.value <= self.limits.optimism:
            return question.passed(f"Yes: {said}, but {worth}, within {self.limits.optimism:g}.", shown)
        if low > 0:
            return question.refused(f"No, the holdout leaks: {said}; {worth}.", told.remedy, shown)
        return question.unknown(f"Not shown: {said}; {worth}, give or take {error:.3f}.", told.remedy, shown)

    def _duplicates(self, candidate: Candidate) -> Finding:
        """LabelledRows of the validation file that lie in the train file, and what they are worth to the candidate."""
        question = self._question("duplicates", "Are the validation rows new to it?")
        train, holdout = candidate.data.train, candidate.data.validation
        if train is None:
            return question.missing("Not shown: no train file was given.", "Give train=FILE.")
        keys = [row_keys(part) for part in features_of([train.inputs, holdout.inputs])]
        known = np.isin(keys[1], keys[0])
        share, fresh = float(known.mean()), candidate.validated.take(~known)
        limits: dict[str, Scalar] = {"duplicates": self.limits.duplicates, "optimism": self.limits.optimism}
        said = f"{share:.1%} of the validation rows are in the train file, to four digits in every column"
        if share <= self.limits.duplicates:
            return question.passed(f"Yes: {said}.", Shown(measured={"duplicates": share}, limits=limits))
        metric = fitting(candidate.validated)[0]
        whole, rest = value(metric.name, candidate.validated), value(metric.name, fresh)
        if len(fresh) < self.limits.min_rows or whole is None or rest is None:
            return self._all_known(question, said, len(np.unique(keys[0])) / len(keys[0]))
        worth = (whole - rest) * (1 if metric.higher else -1)
        shown = Shown(measured={"duplicates": share, "whole": whole, "fresh": rest, "optimism": worth}, limits=limits)
        said += f"; without them the {metric.title} is {rest:.3f} in place of {whole:.3f}"
        if worth <= self.limits.optimism:
            return question.passed(f"Yes, for what counts: {said}.", shown)
        return question.refused(f"No: {said}.", "Drop repeated rows before you split.", shown)

    def _all_known(self, question: Question, said: str, distinct: float) -> Finding:
        """Hardly a row is new: a copy, unless rows are so coarse that they repeat by themselves."""
        shown = Shown(measured={"distinct": distinct}, limits={"duplicates": self.limits.duplicates})
        if distinct < 0.5:
            said += f"; but of the train rows themselves only {distinct:.0%} are distinct, so they repeat by nature"
            return question.passed(f"As far as can be told: {said}.", shown)
        return question.refused(f"No: {said}.", "Drop repeated rows before you split.", shown)

    def _question(self, key: str, title: str) -> Question:
        return Question(self.name, key, title, self.limits)


def _gap(metric: Metric, better: Estimate, worse: Estimate) -> tuple[float, float]:
    """How much better the first is, and the lower end of that."""
    gap = (better.value - worse.value) * (1 if metric.higher else -1)
    reach = float(np.hypot(better.high - better.low, worse.high - worse.low)) / 2
    return gap, gap - reach


def _known_and_new(candidate: Candidate, metric: Metric, both: BoolArray) -> list[tuple[str, float, float, float]]:
    """The candidate's own figure on rows of units that the train file has, and of units it has not."""
    found = []
    for name, mask in (("candidate, known ones", both), ("candidate, new ones", ~both)):
        one = estimate(metric.name, candidate.validated.take(mask)) if mask.any() else None
        if isinstance(one, Estimate):
            found.append((name, one.value, one.low, one.high))
    return found
