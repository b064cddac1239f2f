"""Clean values: what lies outside of a range, or stands for "none", becomes missing; texts lose spaces and capitals."""

from __future__ import annotations

import string
from typing import ClassVar, Literal

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, ColumnTable, is_text, numbers, require_columns
from penstock.tensors import Array

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class CleanStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers in a range, texts in one spelling.

    Attributes:
        columns: Which.
        low: The least number that is one.
        high: The largest.
        clip: Numbers outside are moved to the edge; otherwise they become missing.
        trim: Spaces at both ends of a text go, several in a row become one.
        case: ``lower`` makes A to Z small; ``casefold`` all letters of all scripts, for which no graph has an operator.
        missing: Values that stand for "none"; texts are compared after `trim` and `case`.
    """

    bare: ClassVar[str] = ""
    columns: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    clip: bool = False
    trim: bool = False
    case: Literal["", "lower", "casefold"] = ""
    missing: tuple[str | float, ...] = ()

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is above high")

    def learn(self, table: ColumnTable) -> CleanStep:
        """Itself: nothing is learned.

        Raises:
            InvalidInput: A text is held to a range, or a number to a spelling.
        """
        require_columns(table, self.columns, "clean")
        for name in self.columns:
            odd = self.low is not None or self.high is not None or self.clip
            if not is_text(table[name]):
                odd = self.trim or bool(self.case)
            if odd or any(isinstance(one, str) != is_text(table[name]) for one in self.missing):
                kind = "texts" if is_text(table[name]) else "numbers"
                raise InvalidInput(
                    f"the column {name} holds {kind}, which cannot be cleaned so",
                    "low, high and clip are of numbers; trim and case of texts; missing of the column's own kind",
                    where=f"{WHERE}.clean",
                )
        return self

    def apply(self, table: ColumnTable) -> ColumnTable:
        """The same columns, cleaned; numbers as doubles."""
        cleaned = {
            name: self._texts(table[name]) if is_text(table[name]) else self._numbers(table[name])
            for name in self.columns
        }
        return {**table, **cleaned}

    def back(self, table: ColumnTable) -> ColumnTable:
        """As they are: what is clean stays as it is."""
        return table

    def made(self) -> dict[str, str]:
        """None."""
        return {}

    def edges(self) -> dict[str, tuple[float, ...]]:
        """The ends of the range, and the numbers next to them."""
        ends = [end for end in (self.low, self.high) if end is not None]
        near = tuple(float(one) for end in ends for one in (np.nextafter(end, -np.inf), end, np.nextafter(end, np.inf)))
        return dict.fromkeys(self.columns, near) if near else {}

    def _numbers(self, column: Array) -> Array:
        """NaN for none."""
        found = numbers(column)
        for none in self.missing:
            found = np.where(found == none, np.nan, found)
        if self.low is not None:
            found = np.where(found < self.low, self.low if self.clip else np.nan, found)
        if self.high is not None:
            found = np.where(found > self.high, self.high if self.clip else np.nan, found)
        return found

    def _texts(self, column: Array) -> Array:
        """An empty text for none."""
        found = np.empty(len(column), dtype=object)
        for at, text in enumerate(column.tolist()):
            if self.trim:
                text = " ".join(part for part in text.split(" ") if part)  # noqa: PLW2901
            if self.case:
                text = text.translate(_LOWER) if self.case == "lower" else text.casefold()  # noqa: PLW2901
            found[at] = "" if text in self.missing else text
        return found
