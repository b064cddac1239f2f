"""Stage 2, gate: does it treat the groups of a column alike?

What comes in: answers on the validation rows, and the columns that the policy names, which the model need not take.
What goes out: a finding a question and column. A verdict is what the intervals show: refused only where they exclude
the limit, not known where they hold it. The questions contradict each other where groups differ in truth (Chouldechova
2017; Kleinberg et al. 2017): which of them block is the policy's choice (``advisory``). `penstock.gate.disparity` has
the figures and their sources.
"""

from __future__ import annotations

import difflib
from typing import ClassVar

import numpy as np

from penstock.errors import BadConfig
from penstock.gate.answers import codes_of
from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.disparity import (
    Disparity,
    Grouped,
    Kinds,
    class_tallies,
    error_tallies,
    named_small,
    worst_of,
)
from penstock.gate.evidence import bars, evidence
from penstock.gate.groupcalibration import BINS, calibration_findings
from penstock.gate.groups import MAX_GROUPS, Cutting, Grouping, column_of, crossed, grouping_of
from penstock.gate.grouptables import class_table, error_table, short
from penstock.records import JSON, Finding
from penstock.statistics.fairness import shared_confidence


class FairnessLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `FairnessCheck`. Without `columns` nothing is asked and nothing blocks.

    Attributes:
        columns: Columns of the data whose groups are compared; the model may take them or not.
        positive: The class that is an advantage (or the burden) to be answered; None takes the second of two classes,
            and of more classes the one in which groups lie furthest apart.
        bands: Column of numbers -> where one band ends and the next begins.
        quantiles: Number of groups of a column of many numbers without bands.
        intersections: Compare mixtures of all columns, too.
        min_rows: A smaller group is named and not judged.
        ratio: Least share of the highest selection rate (four fifths).
        difference: Largest difference of selection rates; None asks for the ratio alone.
        opportunity: Largest difference of true positive rates (equal opportunity).
        odds: Largest difference of true or of false positive rates (equalized odds).
        precision: Largest difference of positive predictive values (predictive parity).
        calibration: Largest distance of said and true, for a third of the probabilities in any group.
        error: Of a regression: largest difference of mean errors, as a share of the truth's standard deviation.
        error_ratio: Of a regression: least share of the largest mean absolute error.
    """

    advisory: tuple[str, ...] = ("precision", "calibration")
    columns: tuple[str, ...] = ()
    positive: str | int | float | bool | None = None
    bands: dict[str, tuple[float, ...]] = {}
    quantiles: int = 4
    intersections: bool = False
    min_rows: int = 50
    ratio: float = 0.8
    difference: float | None = None
    opportunity: float = 0.1
    odds: float = 0.1
    precision: float = 0.1
    calibration: float = 0.1
    error: float = 0.1
    error_ratio: float = 0.8

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns whose groups are compared."""
        return self.columns


_MEND = (
    "Look for {column} among the inputs, or for what stands in for it there, and for groups that the training rows"
    " hardly hold or label otherwise; reweigh or resample them, and check again."
)


class FairnessCheck:
    """Figures by group."""

    name: ClassVar[str] = "fairness"
    Limits: ClassVar[type[CheckLimits]] = FairnessLimits

    def __init__(self, limits: FairnessLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Each column by itself; then mixtures, where the policy asks for them."""
        limits = self.limits
        whole = self._question("groups", "Does it treat groups alike?")
        if not limits.columns:
            return [
                whole.missing(
                    "Not shown: the policy names no columns whose groups to compare.",
                    "Name them in the policy (fairness: {columns: [NAME]}); the model need not take them.",
                )
            ]
        if not candidate.judged_by_labels:
            return [
                whole.unknown(
                    "Not shown: there are no labels that its answers can be held to.", candidate.labels_wanted
                )
            ]
        rows, signature = candidate.data.validation, candidate.package.manifest.signature
        columns = {name: column_of(rows, signature, name) for name in limits.columns}
        known = {name: values for name, values in columns.items() if values is not None}
        cut = Cutting(limits.bands, limits.quantiles, limits.min_rows)
        groupings = [grouping_of(name, values, cut) for name, values in known.items()]
        if limits.intersections and len(known) > 1:
            groupings.append(crossed(known, cut))
        absent = [self._absent(candidate, name) for name, values in columns.items() if values is None]
        return [*absent, *(finding for one in groupings for finding in self._of(candidate, one))]

    def _absent(self, candidate: Candidate, name: str) -> Finding:
        """The policy asks for a column that nobody gave."""
        there = {str(column) for one in candidate.data.datasets for column in one.columns}
        near = difflib.get_close_matches(name, sorted(there | set(candidate.data.validation.beside)), n=1)
        remedy = f"Did you mean {near[0]}? Else give" if near else "Give"
        return self._question(f"groups:{name}", f"Does it treat the groups of {name} alike?").unknown(
            f"Not shown: the validation data have no column {name}.",
            f"{remedy} data that have it (--data); the model need not take it.",
        )

    def _of(self, candidate: Candidate, groups: Grouping) -> list[Finding]:
        """One column's questions."""
        whole = self._question(f"groups:{groups.column}", f"Does it treat the groups of {groups.column} alike?")
        small = named_small(groups.small, self.limits.min_rows)
        if len(groups.names) > MAX_GROUPS:
            remedy = "Declare bands in the policy, or name a column that says what people have in common."
            return [
                whole.unknown(f"Not shown: it has {len(groups.names):,} groups; {MAX_GROUPS} are the most.", remedy)
            ]
        if len(groups.names) < 2:
            least = self.limits.min_rows
            said = f"Not shown: {len(groups.names)} of its groups have {least} rows or more; two are the least.{small}"
            shown = Shown(
                measured={"judged": len(groups.names), "too_small": len(groups.small)}, limits={"min_rows": least}
            )
            return [whole.unknown(said, "Give more rows of the small groups, or wider bands.", shown)]
        if candidate.validated.classes:
            return self._classes(candidate, groups)
        return self._errors(candidate, groups)

    # -- classes ---------------------------------------------------------------------------------

    def _classes(self, candidate: Candidate, groups: Grouping) -> list[Finding]:
        """Selection, opportunity, odds, precision, calibration; of several classes the worst."""
        limits, answers, column = self.limits, candidate.validated, groups.column
        classes = self._positives(candidate)
        if not classes:
            said = f"Not shown: no class has {limits.min_rows} rows or more."
            question = self._question(f"groups:{column}", f"Does it treat the groups of {column} alike?")
            return [question.unknown(said, "Give more labelled rows.")]
        tallies = {name: class_tallies(answers, code) for code, name in classes.items()}
        asked: list[tuple[str, str, tuple[str, ...], Kinds, float | None]] = [
            ("selection", "selected alike (four-fifths rule)", ("selection rate",), "ratio", limits.ratio),
            ("difference", "selected alike (demographic parity)", ("selection rate",), "difference", limits.difference),
            ("opportunity", "given equal opportunity", ("true positive rate",), "difference", limits.opportunity),
            ("odds", "given equalized odds", ("true positive rate", "false positive rate"), "difference", limits.odds),
            ("precision", "right alike when answered yes (predictive parity)", ("positive predictive value",),
             "difference", limits.precision),
        ]  # fmt: skip
        found = []
        for key, words, figures, kind, limit in asked:
            if limit is None:
                continue
            pairs = len(groups.names) * (len(groups.names) - 1) // 2 * len(figures) * len(classes)
            grouped = self._grouped(candidate, groups, pairs)
            worst = worst_of(
                grouped.disparity(figure, tallies[name][figure], kind, limit, about=name)
                for name in tallies
                for figure in figures
            )
            question = self._question(key, f"Are the groups of {column} {words}?")
            tables = [class_table(grouped, tallies[worst.about], worst.about)] if key == "selection" else []
            found.append(self._finding(question, grouped, worst, (kind, limit, pairs), tables))
        question = self._question("calibration", f"Do its probabilities come true in each group of {column}?")
        grouped = self._grouped(candidate, groups, len(groups.names) * BINS * len(classes))
        return [*found, *calibration_findings(answers, grouped, classes, question, limits.calibration)]

    def _positives(self, candidate: Candidate) -> dict[int, str]:
        """Places and names of the classes that are asked about."""
        manifest, answers = candidate.package.manifest, candidate.validated
        names = {code: str(label) for code, label in enumerate(manifest.classes)}
        if self.limits.positive is not None:
            code = int(codes_of(manifest, np.array([self.limits.positive], dtype=object))[0])
            if code < 0:
                raise BadConfig(
                    "the policy's positive class is none of the model's",
                    f"they are {', '.join(list(names.values())[:10])}; in YAML, quote yes and no",
                    where="policy.checks.fairness.positive",
                )
            return {code: names[code]}
        if answers.classes == 2:
            return {1: names[1]}
        counts = np.bincount(answers.truth.astype(np.int64), minlength=len(names))
        return {code: name for code, name in names.items() if counts[code] >= self.limits.min_rows}

    # -- numbers ---------------------------------------------------------------------------------

    def _errors(self, candidate: Candidate, groups: Grouping) -> list[Finding]:
        """Of a regression: mean error and mean absolute error."""
        limits, answers, column = self.limits, candidate.validated, groups.column
        tallies = error_tallies(answers)
        pairs = len(groups.names) * (len(groups.names) - 1) // 2
        grouped = self._grouped(candidate, groups, pairs)
        asked: tuple[tuple[str, str, str, Kinds, float], ...] = (
            ("error", f"Does it err the same way for each group of {column}?", "mean error", "difference",
             limits.error * float(answers.truth.std())),
            ("error_ratio", f"Is it as exact for each group of {column}?", "mean absolute error", "ratio",
             limits.error_ratio),
        )  # fmt: skip
        found = []
        for key, title, figure, kind, limit in asked:
            worst = grouped.disparity(figure, tallies[figure], kind, limit)
            tables = [error_table(grouped, answers)] if key == "error" else []
            found.append(self._finding(self._question(key, title), grouped, worst, (kind, limit, pairs), tables))
        return found

    # -- words -----------------------------------------------------------------------------------

    def _finding(
        self, question: Question, grouped: Grouped, found: Disparity, held: tuple[Kinds, float, int], tables: list[JSON]
    ) -> Finding:
        """A disparity as a finding: which group, which other, by how much."""
        kind, limit, pairs = held
        names = grouped.groups.names
        without = [name for name, one in zip(names, found.figures.each, strict=True) if one is None]
        rest = named_small(grouped.groups.small, self.limits.min_rows)
        rest += f" No row, or too few units, to tell it by: {', '.join(without[:5])}." if without else ""
        if found.worst is None:
            said = f"Not shown: fewer than two groups have a {found.figure}.{rest}"
            return question.unknown(
                said, "Give more labelled rows, of more units.", Shown(limits={question.key: limit})
            )
        # A ratio's first is the lower one, a difference's the higher one.
        places = (found.worst.first, found.worst.second)
        lower, higher = places if kind == "ratio" else places[::-1]
        one, other = found.figures.each[lower], found.figures.each[higher]
        assert one is not None
        assert other is not None
        about = f" of {found.about}" if found.about else ""
        drawn = [
            (name, figure.value, figure.low, figure.high)
            for name, figure in zip(names, found.figures.each, strict=True)
            if figure is not None
        ]
        span = (0.0, 1.0) if found.about else None  # of a class they are shares; of a regression errors
        once = "The interval is of one comparison" if pairs == 1 else f"Intervals hold for {pairs} comparisons at once"
        note = f"{once}{' (Bonferroni)' if pairs > 1 else ''}; shares by Wilson, pairs by MOVER."
        plot = bars(f"{found.figure}{about} by {grouped.groups.column}", drawn, span=span)
        shown = Shown(
            measured={
                "group": names[lower], "beside": names[higher], "figure": found.figure, "of_group": one.value,
                "of_beside": other.value, kind: found.worst.value, "low": found.worst.low, "high": found.worst.high,
                "rows": one.rows + other.rows,
            },
            limits={question.key: limit},
            evidence=evidence([plot], tables, [note]),
        )  # fmt: skip
        value, low, high = (short(one) for one in found.worst[2:])
        said = f"the {found.figure}{about} is {short(one.value)} for {names[lower]} and {short(other.value)} for"
        said += f" {names[higher]}, {f'a ratio of {value}' if kind == 'ratio' else f'{value} more'} ({low} to {high});"
        said += f" the limit is {'at least' if kind == 'ratio' else 'at most'} {limit:.4g}"
        if found.outcome == "pass":
            return question.passed(f"Yes, and where groups lie furthest apart: {said}.{rest}", shown)
        if found.outcome == "refuse":
            return question.refused(f"No: {said}.{rest}", _MEND.format(column=grouped.groups.column), shown)
        remedy = "Give more labelled rows of these groups; or join groups that are small."
        return question.unknown(f"Not shown: {said}, inside the interval.{rest}", remedy, shown)

    def _grouped(self, candidate: Candidate, groups: Grouping, questions: int) -> Grouped:
        confidence = shared_confidence(candidate.precision, questions)
        return Grouped(groups, candidate.data.units("validation"), confidence)

    def _question(self, key: str, title: str) -> Question:
        return Question(self.name, key, title, self.limits)
