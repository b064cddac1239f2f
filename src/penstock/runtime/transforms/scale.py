"""Scale numbers: less their centre, by their spread."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, ColumnTable, is_text, missing, numbers, require_columns
from penstock.tensors import Array


class ScaleStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``(value - centre) / spread``.

    Attributes:
        columns: Which.
        way: ``standard``: mean and standard deviation; ``min-max``: the least, and how far the largest lies from it;
            ``robust``: the median, and the middle half.
        known: Centre and spread of a column as they were at training; learned where it does not name a column.
        learned: Centre and spread of each column; a spread of 0 counts as 1.
    """

    bare: ClassVar[str] = ""
    columns: tuple[str, ...]
    way: Literal["standard", "min-max", "robust"] = msgspec.field(name="as")
    known: dict[str, tuple[float, float]] = {}
    learned: dict[str, tuple[float, float]] = {}

    def __post_init__(self) -> None:
        if any(spread == 0 for _, spread in self.known.values()):
            raise ValueError("a spread is 0")

    def learn(self, table: ColumnTable) -> ScaleStep:
        """Centre and spread of each column.

        Raises:
            InvalidInput: One holds texts, or no number at all.
        """
        require_columns(table, self.columns, "scale")
        require_columns(dict.fromkeys(self.columns), self.known, "scale")
        learned = {name: self.known.get(name) or self._found(name, table[name]) for name in self.columns}
        return msgspec.structs.replace(self, learned=learned)

    def apply(self, table: ColumnTable) -> ColumnTable:
        """The same columns as doubles."""
        scaled: ColumnTable = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for name in self.columns:
                centre, spread = self.learned[name]
                scaled[name] = (numbers(table[name]) - centre) / spread
        return {**table, **scaled}

    def back(self, table: ColumnTable) -> ColumnTable:
        """The numbers themselves, but for rounding."""
        plain: ColumnTable = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for name in self.columns:
                if name in table:
                    centre, spread = self.learned[name]
                    plain[name] = numbers(table[name]) * spread + centre
        return {**table, **plain}

    def made(self) -> dict[str, str]:
        """None."""
        return {}

    def edges(self) -> dict[str, tuple[float, ...]]:
        """None."""
        return {}

    def _found(self, name: str, column: Array) -> tuple[float, float]:
        """Of the values there are."""
        if is_text(column):
            raise InvalidInput(
                f"the column {name} holds texts, which have no scale", "encode it first", where=f"{WHERE}.scale"
            )
        found = numbers(column)[~missing(column).astype(np.bool_)]
        if not len(found):
            raise InvalidInput(
                f"the column {name} holds no number to learn from", "give centre and spread", where=f"{WHERE}.scale"
            )
        if self.way == "standard":
            centre, spread = found.mean(), found.std()
        elif self.way == "min-max":
            centre, spread = found.min(), found.max() - found.min()
        else:
            first, centre, third = np.quantile(found, (0.25, 0.5, 0.75))
            spread = third - first
        return float(centre), float(spread) or 1.0
