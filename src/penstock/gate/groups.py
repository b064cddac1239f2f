"""Groups of people (or of anything) by the columns that a policy names (part of ``gate``).

    columns of the data's files -> levels, declared bands, or quantiles -> groups; small ones are named and not judged

What comes in: labelled rows with the columns beside them; a column need not be an input of the model. What goes out: a
`Grouping` a column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from penstock.gate.check import LabelledRows
from penstock.statistics.metrics import FloatArray, IntArray
from penstock.tensors import Array, Signature

MAX_LEVELS = 12
"""A column of more different numbers is cut."""

MAX_GROUPS = 50
"""More judged groups are no groups: they are names or numbers of single people."""

MISSING = "(missing)"


class Cutting(NamedTuple):
    """How columns become groups.

    Attributes:
        bands: Column -> the numbers at which a band ends and the next begins.
        quantiles: Of a column of many numbers without bands: how many groups of equal rows.
        min_rows: Smaller groups are not judged.
    """

    bands: Mapping[str, tuple[float, ...]]
    quantiles: int
    min_rows: int


class Grouping(NamedTuple):
    """One column's groups.

    Attributes:
        column: Its name; of several, joined.
        names: Of the groups that are large enough to judge.
        codes: ``(rows,)``: place of each row's group in `names`; -1 for rows of small groups.
        small: Name and rows of each group that is too small, largest first.
    """

    column: str
    names: tuple[str, ...]
    codes: IntArray
    small: tuple[tuple[str, int], ...]


def beside_of(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, Array]:
    """The columns of a frame that were asked for and are there: numbers as floats, anything else as text."""
    return {name: _plain(frame[name]) for name in names if name in frame.columns}


def column_of(rows: LabelledRows, signature: Signature, name: str) -> Array | None:
    """A column of the data's file, or of the model's inputs; None where there is none of that name."""
    if name in rows.beside:
        return rows.beside[name]
    for spec in signature.inputs:
        array = rows.inputs[spec.name].reshape(len(rows), -1)
        names = spec.columns or (spec.name,)
        if name in names and array.shape[1] == len(names):
            return array[:, names.index(name)]
    return None


def grouping_of(column: str, values: Array, cut: Cutting) -> Grouping:
    """One column's groups."""
    return _sized(column, _labels(column, values, cut), cut)


def crossed(columns: Mapping[str, Array], cut: Cutting) -> Grouping:
    """The groups of several columns at once: each mixture that occurs is one."""
    each = [_labels(name, values, cut) for name, values in columns.items()]
    joined = np.array([", ".join(one) for one in zip(*(labels.tolist() for labels in each), strict=True)])
    return _sized(" and ".join(columns), joined, cut)


def _sized(column: str, labels: Array, cut: Cutting) -> Grouping:
    """Large groups by number, small ones by name."""
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    is_large = counts >= cut.min_rows
    place = np.where(is_large, np.cumsum(is_large) - 1, -1)
    small = sorted(
        ((str(name), int(count)) for name, count in zip(names[~is_large], counts[~is_large], strict=True)),
        key=lambda one: (-one[1], one[0]),
    )
    large = tuple(str(name) for name in names[is_large])
    return Grouping(column, large, place[codes.reshape(-1)].astype(np.int64), tuple(small))


def _labels(column: str, values: Array, cut: Cutting) -> Array:
    """What each row's group is called, ``(rows,)``."""
    if values.dtype.kind not in "iufb":
        return np.array([str(value) if value not in (None, "") else MISSING for value in values.tolist()])
    numbers: FloatArray = values.astype(np.float64)
    known = np.isfinite(numbers)
    edges = cut.bands.get(column)
    if edges is None:
        levels = np.unique(numbers[known])
        if len(levels) <= MAX_LEVELS:
            return np.array([f"{one:g}" if np.isfinite(one) else MISSING for one in numbers.tolist()])
        edges = tuple(np.unique(np.quantile(numbers[known], np.linspace(0, 1, cut.quantiles + 1)[1:-1])).tolist())
    names = np.array(_band_names(sorted(edges)))
    codes = np.searchsorted(np.sort(np.array(edges, float)), np.where(known, numbers, 0.0), side="right")
    return np.where(known, names[codes], MISSING)


def _band_names(edges: Sequence[float]) -> list[str]:
    """``under 25``, ``25 to under 45``, ``45 and over``."""
    if not edges:
        return ["all"]
    between = [f"{low:g} to under {high:g}" for low, high in pairwise(edges)]
    return [f"under {edges[0]:g}", *between, f"{edges[-1]:g} and over"]


def _plain(column: pd.Series) -> Array:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        return column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return column.astype("string").fillna("").to_numpy(object)
