"""Fill missing values in: with the middle, the mean or the most frequent of the rows, or with a value."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, ColumnTable, is_text, missing, numbers, require_columns
from penstock.tensors import Array

WAYS = ("median", "mean", "most_frequent")


class ImputeStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value for none.

    Attributes:
        columns: Which.
        fill: ``median``, ``mean``, ``most_frequent`` (of several the smallest), or the value itself.
        learned: The value of each column.
    """

    bare: ClassVar[str] = ""
    columns: tuple[str, ...]
    fill: str | float = msgspec.field(name="with")
    learned: dict[str, str | float] = {}

    def learn(self, table: ColumnTable) -> ImputeStep:
        """The value of each column.

        Raises:
            InvalidInput: A column holds no value at all, or the way is not of its kind.
        """
        require_columns(table, self.columns, "impute")
        return msgspec.structs.replace(self, learned={name: self._value(name, table[name]) for name in self.columns})

    def apply(self, table: ColumnTable) -> ColumnTable:
        """The same columns without a missing value; numbers as doubles."""
        filled: ColumnTable = {}
        for name in self.columns:
            column = table[name] if is_text(table[name]) else numbers(table[name])
            filled[name] = np.where(missing(column), np.array(self.learned[name], dtype=column.dtype), column)
        return {**table, **filled}

    def back(self, table: ColumnTable) -> ColumnTable:
        """As they are."""
        return table

    def made(self) -> dict[str, str]:
        """None."""
        return {}

    def edges(self) -> dict[str, tuple[float, ...]]:
        """None."""
        return {}

    def _value(self, name: str, column: Array) -> str | float:
        """What is filled in."""
        text, known = is_text(column), column[~missing(column).astype(np.bool_)]
        named = self.fill in WAYS
        if (text and self.fill in ("median", "mean")) or (not named and isinstance(self.fill, str) != text):
            raise InvalidInput(
                f"the column {name} holds {'texts' if text else 'numbers'}, which cannot be imputed so",
                "texts take most_frequent or a text; numbers median, mean, most_frequent or a number",
                where=f"{WHERE}.impute",
            )
        if not named:
            return self.fill if text else float(self.fill)
        if not len(known):
            raise InvalidInput(
                f"the column {name} holds no value to learn from", "say which value to fill in", where=f"{WHERE}.impute"
            )
        if self.fill == "most_frequent":
            values, counts = np.unique(known, return_counts=True)
            return str(values[counts.argmax()]) if text else float(values[counts.argmax()])
        return float(np.median(numbers(known)) if self.fill == "median" else numbers(known).mean())
