"""The contract of a check, and what it is given (stage 2, gate).

    Candidate (package, engine, data, champion) -> Check(limits).check(candidate) -> findings

What comes in: a candidate whose engine answers, and the policy's limits of that one check. What goes out: one
`Finding` per question. A check that cannot tell says ``unknown``; a check that raises blocks (`penstock.gate.run`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import msgspec
import numpy as np

from penstock.gate.answers import answer, answers_of
from penstock.gate.freeform import is_freeform
from penstock.gate.units import units_of
from penstock.gate.vectors import answers_vectors
from penstock.packages.read import Package
from penstock.records import JSON, Dataset, Finding, Outcomes, Scalar
from penstock.runtime.engine import Engine
from penstock.statistics.intervals import Found, Precision, estimate
from penstock.statistics.metrics import Answers, IntArray
from penstock.tensors import Array, Arrays

Progress = Callable[[str, int, int], None]
"""Told before each step: what starts, its number from 0, how many there are."""

TRAIN_ROWS = 20_000


class CheckLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the policy says to every check; each check's own limits add to it.

    Attributes:
        blocks: Outcomes that block the verdict.
        missing: What "its data were not given" does: ``allow`` says "not shown" and lets pass, ``block`` blocks.
        advisory: Keys of questions whose answer informs and never blocks.
    """

    blocks: tuple[Outcomes, ...] = ("refuse", "unknown")
    missing: Literal["allow", "block"] = "allow"
    advisory: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the data's files that the check needs, whether the model takes them or not."""
        return ()


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Rows of one file, with what is known of them.

    Attributes:
        inputs: Conformed arrays by input name.
        labels: ``(rows,)``: class labels or values, as the file has them; empty text where `labelled` is not set.
        time: ``(rows,)`` seconds since the epoch or any number that orders; None where no column was named.
        group: ``(rows,)`` text; None where no column was named.
        paired: The same inputs again, where each row is a pair; the label then says how alike the two are.
        labelled: Somebody said which column is the label.
        beside: Columns that a check asked for (`CheckLimits.reads`), by name: numbers with NaN, or text with "".
    """

    inputs: Arrays
    labels: Array
    time: Array | None = None
    group: Array | None = None
    paired: Arrays | None = None
    labelled: bool = True
    beside: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: IntArray) -> LabelledRows:
        """Some of the rows, in the order of the index."""
        return LabelledRows(
            inputs={name: array[index] for name, array in self.inputs.items()},
            labels=self.labels[index],
            time=None if self.time is None else self.time[index],
            group=None if self.group is None else self.group[index],
            paired=None if self.paired is None else {name: array[index] for name, array in self.paired.items()},
            labelled=self.labelled,
            beside={name: array[index] for name, array in self.beside.items()},
        )


@dataclass(frozen=True, kw_only=True)
class GateData:
    """What ``--data`` gave: the parts, and where they came from.

    Attributes:
        time_name: Column given as ``--time``; empty without.
        group_name: Column given as ``--group``; empty without.
        datasets: The files with their digests, for the verdict.
    """

    validation: LabelledRows
    train: LabelledRows | None = None
    test: LabelledRows | None = None
    time_name: str = ""
    group_name: str = ""
    datasets: tuple[Dataset, ...] = ()

    @property
    def parts(self) -> dict[str, LabelledRows]:
        """The parts that were given, by name."""
        every = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: rows for name, rows in every.items() if rows is not None}

    @cached_property
    def by_time(self) -> dict[str, IntArray]:
        """Time unit (a day, of timestamps) of each row, numbered alike in all parts; empty without ``--time``."""
        return units_of({name: rows.time for name, rows in self.parts.items()})

    @cached_property
    def by_group(self) -> dict[str, IntArray]:
        """Group of each row, numbered alike in all parts; empty without ``--group``."""
        return units_of({name: rows.group for name, rows in self.parts.items()})

    def units(self, part: str) -> IntArray | None:
        """The units within which rows depend on each other: times where given, else groups, else None."""
        found = (self.by_time or self.by_group).get(part)
        return None if found is None else np.unique(found, return_inverse=True)[1].reshape(-1).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who asks to go out.

    Attributes:
        package: Verified.
        engine: Opened from it, and proven on its golden examples.
        data: Labelled rows.
        champion: Who answers today; None for a first version.
        champion_name: ``name@3``.
        precision: Confidence and seed of every figure.
    """

    package: Package
    engine: Engine
    data: GateData
    champion: Engine | None = None
    champion_name: str = ""
    precision: Precision = field(default_factory=Precision)

    @property
    def judged_by_labels(self) -> bool:
        """Whether its answers can be held to labels: they were given, and it answers a class or a number a row."""
        manifest = self.package.manifest
        return self.data.validation.labelled and not (answers_vectors(manifest) or is_freeform(manifest))

    @property
    def labels_wanted(self) -> str:
        """What to do where labels are lacking, in words."""
        if is_freeform(self.package.manifest):
            return "Nothing that could be given: its answers are no class and no number."
        return "Give rows with --label COLUMN."

    @cached_property
    def outputs(self) -> Arrays:
        """The engine's raw answers on the validation rows."""
        return answer(self.engine, self.data.validation.inputs)

    @cached_property
    def validated(self) -> Answers:
        """Answers on the validation rows, beside their labels."""
        return answers_of(self.package.manifest, self.data.validation.labels, self.outputs)

    @cached_property
    def trained(self) -> Answers | None:
        """Answers on up to 20,000 of the training rows; None where none were given."""
        rows = self.data.train
        if rows is not None and len(rows) > TRAIN_ROWS:
            drawn = np.random.default_rng(self.precision.seed).choice(len(rows), size=TRAIN_ROWS, replace=False)
            rows = rows.take(np.sort(drawn).astype(np.int64))
        return self._on(self.engine, rows)

    @cached_property
    def tested(self) -> Answers | None:
        """Answers on the test rows; None where none were given."""
        return self._on(self.engine, self.data.test)

    @cached_property
    def championed(self) -> Answers | None:
        """The champion's answers on the validation rows; None without a champion."""
        return None if self.champion is None else self._on(self.champion, self.data.validation)

    def estimated(self, metric: str) -> Found:
        """One metric of the validation rows with its interval; made once, however many checks ask."""
        if metric not in self._estimates:
            units = self.data.units("validation")
            self._estimates[metric] = estimate(metric, self.validated, units, precision=self.precision)
        return self._estimates[metric]

    @cached_property
    def _estimates(self) -> dict[str, Found]:
        return {}

    def _on(self, engine: Engine, rows: LabelledRows | None) -> Answers | None:
        if rows is None:
            return None
        return answers_of(self.package.manifest, rows.labels, answer(engine, rows.inputs))


class Check(Protocol):
    """One question, or a few that share their work. Constructors take the check's own limits and only store them.

    Attributes:
        name: Its name in the adapters' ``check`` table.
        Limits: The type of its limits; the defaults are the starter policy.
    """

    name: ClassVar[str]
    Limits: ClassVar[type[CheckLimits]]

    def __init__(self, limits: CheckLimits) -> None: ...

    def check(self, candidate: Candidate) -> list[Finding]:
        """Answer it; equal candidates give equal findings, measured times apart."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a finding rests on: figures, the limits they were held against, and what the report draws."""

    measured: dict[str, Scalar] = field(default_factory=dict)
    limits: dict[str, Scalar] = field(default_factory=dict)
    evidence: JSON = field(default_factory=dict)


_NOTHING = Shown()


@dataclass(frozen=True)
class Question:
    """One question of a check; its answers become findings.

    Attributes:
        check: The check's name.
        key: Short name, for the policy's ``advisory``.
        title: In the reader's words.
        policy: The check's limits: they say what blocks.
    """

    check: str
    key: str
    title: str
    policy: CheckLimits

    def passed(self, message: str, shown: Shown = _NOTHING) -> Finding:
        """Yes, and these figures say so."""
        return self._finding("pass", message, "", shown)

    def refused(self, message: str, remedy: str, shown: Shown = _NOTHING) -> Finding:
        """No; the remedy says what to do about it."""
        return self._finding("refuse", message, remedy, shown)

    def unknown(self, message: str, remedy: str, shown: Shown = _NOTHING) -> Finding:
        """The evidence does not tell; the remedy says what would."""
        return self._finding("unknown", message, remedy, shown)

    def missing(self, message: str, remedy: str) -> Finding:
        """Not shown: its data were not given. Blocks only where the policy says so."""
        found = self._finding("unknown", message, remedy, _NOTHING)
        return msgspec.structs.replace(found, blocking=self.policy.missing == "block")

    def _finding(self, outcome: Outcomes, message: str, remedy: str, shown: Shown) -> Finding:
        return Finding(
            check=self.check,
            title=self.title,
            outcome=outcome,
            message=message,
            blocking=outcome in self.policy.blocks and self.key not in self.policy.advisory,
            remedy=remedy,
            measured={name: _plain(value) for name, value in shown.measured.items()},
            limits={name: _plain(value) for name, value in shown.limits.items()},
            evidence=shown.evidence,
        )


def _plain(value: Scalar) -> Scalar:
    """A figure as the report prints it and JSON can hold it: six digits; no figure where it is not finite."""
    if not isinstance(value, float):
        return value
    return round(value, 6) if math.isfinite(value) else None
