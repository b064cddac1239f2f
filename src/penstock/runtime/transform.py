"""The contract of a declared step: what it learns when a model is packaged, and how it changes rows or answers.

    raw columns -> BeforeStep.apply ... -> the model -> AfterStep.apply ... -> answers

A step is one record: what was declared of it, and in ``learned`` the numbers that it took from the data. To add one: a
file in ``transforms/`` with such a record, a file in ``build/emissions/`` that puts it into a graph, two lines in
`penstock.adapters`; ``tests/contracts/test_transform.py`` runs over both. It runs in the model's own environment, too,
so it needs numpy and msgspec alone, and it is what its nodes in a graph are held against.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np

from penstock.errors import InvalidInput
from penstock.tensors import Array, Arrays, Floats

Integers = np.ndarray[tuple[int], np.dtype[np.int64]]

ColumnTable = dict[str, Array]
"""Columns in order, each ``(rows,)``: numbers with NaN for a missing one, or texts with ""."""
Classes = tuple[str | int | bool, ...]

TRANSFORMS = "transforms.json"
"""Where a package keeps its steps."""
MILLION = 1e6
WHERE = "transforms"


class BeforeStep(Protocol):
    """One step before the model; a frozen record."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Which it acts on."""

    def learn(self, table: ColumnTable) -> BeforeStep:
        """A copy with what it takes from rows.

        Raises:
            InvalidInput: They lack a column, or one is of another kind.
        """

    def apply(self, table: ColumnTable) -> ColumnTable:
        """The columns as they are after it; those given are left as they are."""

    def back(self, table: ColumnTable) -> ColumnTable:
        """Columns as they might have been before it, to find rows next to a threshold of the model."""

    def made(self) -> dict[str, str]:
        """Columns that it makes, and which one each is made of."""

    def edges(self) -> dict[str, tuple[float, ...]]:
        """Numbers at which it changes what it does, by column."""


class AfterStep(Protocol):
    """One step behind the model; a frozen record."""

    bare: ClassVar[str]
    """The field that is meant where its declaration is the value alone; empty where it is a table of fields."""

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> AfterStep:
        """A copy with what it takes from answers.

        Args:
            answers: By output, as they are before it.
            classes: As they are before it; empty for a regression.
            truth: One entry a row; None where nobody gave it.

        Raises:
            InvalidInput: The model does not answer what it needs.
        """

    def apply(self, answers: Arrays) -> Arrays:
        """The answers as they are after it; those given are left as they are."""

    def classes_after(self, classes: Classes) -> Classes:
        """The classes as they are after it."""


def numbers(column: Array) -> Floats:
    """A column of numbers in double precision."""
    return column.astype(np.float64)


def is_text(column: Array) -> bool:
    """Whether it holds texts."""
    return column.dtype.kind == "O"


def missing(column: Array) -> Array:
    """Where a value is missing."""
    gaps: Array = np.asarray(column == "") if is_text(column) else np.isnan(numbers(column))
    return gaps


def millionths(probabilities: Array) -> Floats:
    """Probabilities as whole millionths: what differs further behind is rounding, and no reason to choose."""
    ranked: Floats = np.rint(probabilities.astype(np.float64) * MILLION)
    return ranked


def most_probable(classes: Classes, probabilities: Array) -> Array:
    """The label of each row: of equally probable ones the first."""
    labels: Array = label_array(classes)[millionths(probabilities).argmax(axis=1)]
    return labels


def label_array(classes: Classes) -> Array:
    """Labels as outputs have them: INT64 where all are whole numbers or booleans, else text."""
    if all(isinstance(one, int) for one in classes):
        return np.array([int(one) for one in classes], dtype=np.int64)
    return np.array([str(one) for one in classes], dtype=object)


def label_codes(classes: Classes, labels: Array) -> Integers:
    """Each label's place among the classes; -1 where it is none of them. Whole numbers may come as fractions."""
    known = {str(one): at for at, one in enumerate(classes)} | {
        str(int(one)): at for at, one in enumerate(classes) if isinstance(one, bool)
    }
    whole = labels.dtype.kind == "b" or (labels.dtype.kind == "f" and np.array_equal(labels, np.rint(numbers(labels))))
    listed = labels.astype(np.int64) if whole else labels
    return np.array([known.get(str(one), -1) for one in listed.tolist()], dtype=np.int64)


def require_columns(table: Mapping[str, object], names: Iterable[str], step: str) -> None:
    """Refuse a column that is not there, and say which was meant.

    Raises:
        InvalidInput: One is not.
    """
    for name in names:
        if name not in table:
            raise InvalidInput(
                f"there is no column {name} to {step}", nearest(name, list(table), "columns"), where=f"{WHERE}.{step}"
            )


def require_probabilities(answers: Arrays, classes: Classes, step: str) -> Floats:
    """Its probabilities, one a class.

    Raises:
        InvalidInput: It answers none.
    """
    found = answers.get("probabilities")
    if found is None or found.ndim != 2 or found.shape[1] != len(classes) or len(classes) < 2:
        raise InvalidInput(
            f"the model answers no probabilities, one a class, to {step}",
            "package a classifier with predict_proba, or leave the step out",
            where=f"{WHERE}.{step}",
        )
    return numbers(found)


def require_prediction(answers: Arrays, step: str) -> None:
    """Refuse where there is nothing to act on.

    Raises:
        InvalidInput: There is no prediction of fractions.
    """
    if answers.get("prediction", np.empty(0, dtype=object)).dtype.kind != "f":
        raise InvalidInput(
            f"the model answers no prediction to {step}", "only a regression has one", where=f"{WHERE}.{step}"
        )


def class_place(classes: Classes, name: str, step: str) -> int:
    """Which class is meant.

    Raises:
        InvalidInput: None of that name.
    """
    names = [str(one) for one in classes]
    if name not in names:
        raise InvalidInput(
            f"the model has no class {name} to {step}", nearest(name, names, "classes"), where=f"{WHERE}.{step}"
        )
    return names.index(name)


def nearest(name: str, known: Sequence[str], what: str) -> str:
    """A hint: what was meant, or what there is."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"the {what} are {', '.join(known[:20]) or 'none'}"
