"""Encode categories: a column each with 0 or 1, or a whole number each."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, ColumnTable, is_text, missing, numbers, require_columns
from penstock.tensors import Array, Floats

MAX_CATEGORIES = 10_000
Category = str | float


class EncodeStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers for categories.

    Attributes:
        columns: Which.
        way: ``one-hot`` puts columns ``NAME_CATEGORY`` in the place of NAME, all 0 for what is unknown or missing;
            ``ordinal`` numbers the categories from 0.
        categories: In their order, by column; learned, in ascending order, where it does not name a column.
        unknown: The number of what is unknown or missing; ordinal alone.
        learned: The categories of each column.
    """

    bare: ClassVar[str] = ""
    columns: tuple[str, ...]
    way: Literal["one-hot", "ordinal"] = msgspec.field(name="as")
    categories: dict[str, tuple[Category, ...]] = {}
    unknown: int = -1
    learned: dict[str, tuple[Category, ...]] = {}

    def learn(self, table: ColumnTable) -> EncodeStep:
        """The categories of each column.

        Raises:
            InvalidInput: There are none, too many, or some of another kind than the column.
        """
        require_columns(table, self.columns, "encode")
        require_columns(dict.fromkeys(self.columns), self.categories, "encode")
        return msgspec.structs.replace(self, learned={name: self._found(name, table[name]) for name in self.columns})

    def apply(self, table: ColumnTable) -> ColumnTable:
        """Doubles for each category, or INT64."""
        done: ColumnTable = {}
        for name, column in table.items():
            if name not in self.columns:
                done[name] = column
            elif self.way == "ordinal":
                done[name] = self._codes(name, column)
            else:
                codes, names = self._codes(name, column), self.names(name)
                done |= {made: (codes == at).astype(np.float64) for at, made in enumerate(names)}
        return done

    def back(self, table: ColumnTable) -> ColumnTable:
        """The category of each row; of several the first that is nearest to 1."""
        done: ColumnTable = {}
        for name in self.columns:
            known, made = self.learned[name], self.names(name)
            if self.way == "ordinal":
                codes = np.clip(np.rint(numbers(table[name])), 0, len(known) - 1).astype(np.int64)
            else:
                rows = len(next(iter(table.values())))
                codes = np.stack([table.get(one, np.zeros(rows)) for one in made]).argmax(axis=0)
            done[name] = _array(known)[codes]
        gone = set(self.made())
        return {name: column for name, column in table.items() if name not in gone} | done

    def made(self) -> dict[str, str]:
        """Columns of categories."""
        if self.way == "ordinal":
            return {}
        return {made: name for name in self.columns for made in self.names(name)}

    def edges(self) -> dict[str, tuple[float, ...]]:
        """None."""
        return {}

    def names(self, column: str) -> tuple[str, ...]:
        """Of the columns that one becomes."""
        return tuple(f"{column}_{_written(one)}" for one in self.learned[column])

    def _found(self, name: str, column: Array) -> tuple[Category, ...]:
        """Those declared, or those there are."""
        text = is_text(column)
        declared = self.categories.get(name)
        if declared is not None and (
            len(set(declared)) < len(declared) or any(isinstance(c, str) != text for c in declared)
        ):
            raise InvalidInput(
                f"the categories of {name} repeat, or are not of its kind", "name each once", where=f"{WHERE}.encode"
            )
        known = column[~missing(column).astype(np.bool_)]
        found = np.unique(known if text else numbers(known)).tolist() if declared is None else list(declared)
        if not 0 < len(found) <= MAX_CATEGORIES:
            raise InvalidInput(
                f"the column {name} has {len(found)} categories, and 1 to {MAX_CATEGORIES} can be encoded",
                "clean it first, or name those that matter under categories",
                where=f"{WHERE}.encode",
            )
        return tuple(found)

    def _codes(self, name: str, column: Array) -> Array:
        """The place of each value among the categories."""
        known = self.learned[name]
        unknown = self.unknown if self.way == "ordinal" else -1
        if is_text(column):
            places = {one: at for at, one in enumerate(known)}
            return np.array([places.get(text, unknown) for text in column.tolist()], dtype=np.int64)
        values: Floats = np.array(known, dtype=np.float64)
        equal = numbers(column)[:, None] == values[None, :]
        return np.where(equal.any(axis=1), equal.argmax(axis=1), unknown).astype(np.int64)


def _array(known: tuple[Category, ...]) -> Array:
    return np.array(known, dtype=object if isinstance(known[0], str) else np.float64)


def _written(one: Category) -> str:
    """A category in a column's name: whole numbers without a point."""
    if isinstance(one, str):
        return one
    return str(int(one)) if float(one).is_integer() else repr(float(one))
