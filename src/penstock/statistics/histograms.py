"""Fixed-bin histograms: what a table looks like in a few hundred integers.

What comes in: columns by name, as numpy arrays. What goes out: a `Profile`, whose bins are drawn once (by `fit`,
from a reference) and whose counts add up over any split of the rows:

    fit(reference) -> Profile --+-- count(profile, batch) -> Profile -- merge(...) -> Profile
                                `-- encode -> bytes -> decode

Bins hold no single value of anybody: deciles for numbers, whole categories for text.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock import records
from penstock.errors import Conflict, Corrupt
from penstock.records import Record
from penstock.tensors import Array

FORMAT = 1
"""Raise it when `Profile` changes so that an old reader would misread it; keep a decoder for each older one."""

DISTINCT = 16
"""A number with at most so many distinct values gets one bin for each."""

CATEGORIES = 200
"""Categories beyond the most frequent so many share the last bin with those never seen."""

QUANTILES = np.array([0.0001, *np.arange(1, 10) / 10, 0.9999])

SHAPE = np.array([0.0001, 0.1, 0.5, 0.9, 0.9999])

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class Histogram(Record, frozen=True, kw_only=True):
    """One column's bins and what fell into them.

    Attributes:
        kind: ``number`` or ``text``.
        edges: Of a number: lowest ordinary value, inner edges (a value on an edge is left of it), highest
            ordinary value; empty where the reference had no value at all. Ordinary is what lies no further
            from the reference's range than the range is wide (ten times, beyond a heavy tail): a season passes, a wrong
            unit does not.
        categories: Of a text: the categories with a bin of their own, most frequent first.
        counts: number: below, one per body bin, above, missing; text: one per category, other, missing.
    """

    kind: Literal["number", "text"]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Rows counted, missing ones included."""
        return sum(self.counts)

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.counts[-1]

    @property
    def unusual(self) -> int:
        """Rows outside the reference's ordinary range or categories."""
        return self.counts[0] + self.counts[-2] if self.kind == "number" else self.counts[-2]

    def body(self) -> Counts:
        """Counts for a distance: a number's tails are folded into its outer bins; missing stays apart, last."""
        counts = np.array(self.counts, dtype=np.int64)
        if self.kind == "text" or len(counts) < 4:
            return counts
        folded = counts[1:-2].copy()
        folded[0] += counts[0]
        folded[-1] += counts[-2]
        return np.append(folded, counts[-1])

    def labels(self) -> tuple[str, ...]:
        """Names of the bins of `body`, for people."""
        if self.kind == "text":
            return (*self.categories, "other", "missing")
        inner = [f"{edge:.4g}" for edge in self.edges[1:-1]]
        if not inner:
            return ("all", "missing") if self.edges else ("below", "above", "missing")
        spans = [f"{low} to {high}" for low, high in pairwise(inner)]
        return (f"up to {inner[0]}", *spans, f"over {inner[-1]}", "missing")


class Profile(Record, frozen=True, kw_only=True):
    """A table's histograms, by column name."""

    columns: dict[str, Histogram]
    rows: int = 0
    format: int = FORMAT


def fit(columns: Mapping[str, Array]) -> Profile:
    """Draw bins from a reference table and count it.

    Args:
        columns: Name to values, each of shape ``(rows,)`` or ``(rows, 1)``; missing is NaN, None or "".
    """
    bins = {name: _bins(np.asarray(values).reshape(-1)) for name, values in columns.items()}
    return count(Profile(columns=bins), columns)


def count(bins: Profile, columns: Mapping[str, Array]) -> Profile:
    """Count a table in the bins of a profile; its own counts are not looked at.

    A column that the table lacks counts nothing, one that the profile lacks is left out.
    """
    counted: dict[str, Histogram] = {}
    rows = 0
    for name, histogram in bins.columns.items():
        values = np.asarray(columns[name]).reshape(-1) if name in columns else np.empty(0)
        counted[name] = _with_counts(histogram, _count(histogram, values))
        rows = max(rows, len(values))
    return Profile(columns=counted, rows=rows)


def merge(first: Profile, second: Profile) -> Profile:
    """The profile of both tables together; exact, in any order.

    Raises:
        Conflict: Their bins differ.
    """
    if not same_bins(first, second):
        raise Conflict("two profiles with different bins cannot be added", "count both tables in the same bins")
    merged = {
        name: _with_counts(one, np.add(one.counts, second.columns[name].counts)) for name, one in first.columns.items()
    }
    return Profile(columns=merged, rows=first.rows + second.rows)


def same_bins(first: Profile, second: Profile) -> bool:
    """Whether counts of one may be added to, or compared with, those of the other."""
    return first.columns.keys() == second.columns.keys() and all(
        (one.kind, one.edges, one.categories) == (other.kind, other.edges, other.categories)
        for one, other in ((one, second.columns[name]) for name, one in first.columns.items())
    )


def encode(profile: Profile) -> bytes:
    """Canonical bytes, as kept in a package's ``profile.json``."""
    return records.encode(profile)


def decode(data: bytes | str) -> Profile:
    """Read a profile back.

    Raises:
        Corrupt: Not a profile, or of a format that this version does not know.
    """
    profile = records.decode(data, Profile)
    if profile.format != FORMAT:
        raise Corrupt(f"the profile has format {profile.format}, known is {FORMAT}", "update penstock")
    return profile


def _with_counts(histogram: Histogram, counts: Counts) -> Histogram:
    return Histogram(
        kind=histogram.kind,
        edges=histogram.edges,
        categories=histogram.categories,
        counts=tuple(counts.tolist()),
    )


def _bins(values: Array) -> Histogram:
    """Bins for one column, not counted yet."""
    if values.dtype.kind in "biuf":
        return Histogram(kind="number", edges=_edges(values.astype(np.float64)))
    seen: dict[str, int] = {}
    for value in _texts(values):
        if value is not None:
            seen[value] = seen.get(value, 0) + 1
    # Ties are broken by name, so that the order of rows does not change the bins.
    ranked = sorted(seen, key=lambda name: (-seen[name], name))[:CATEGORIES]
    return Histogram(kind="text", categories=tuple(ranked))


def _edges(values: Floats) -> tuple[float, ...]:
    """Lowest ordinary value, inner edges, highest ordinary value."""
    ordered = np.sort(values[np.isfinite(values)])
    if not len(ordered):
        return ()
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if len(distinct) <= DISTINCT:
        inner = distinct[:-1] / 2 + distinct[1:] / 2  # halves first: the sum may overflow
        low, high = distinct[0], distinct[-1]
    else:
        # The sorted values are at hand, so the quantiles are look-ups.
        quantiles = ordered[np.round(QUANTILES * (len(ordered) - 1)).astype(int)]
        low, high = quantiles[0], quantiles[-1]
        inner = np.unique(quantiles[1:-1])
        inner = inner[inner < high]
    with np.errstate(over="ignore"):
        width = (high - low) or max(abs(low), np.float64(1.0))
        reach = width * _stretch(ordered)
        ends = np.nan_to_num([low - reach[0], high + reach[1]])  # JSON knows no infinity
    return (float(ends[0]), *inner.tolist(), float(ends[1]))


def _stretch(ordered: Floats) -> Floats:
    """How many widths beyond either end are ordinary: 1, and 10 on the side of a heavy tail (rain, money)."""
    low, tenth, middle, ninetieth, high = ordered[np.round(SHAPE * (len(ordered) - 1)).astype(int)]
    heavy = np.array([middle - low > 5 * (middle - tenth), high - middle > 5 * (ninetieth - middle)])
    return np.where(heavy & (len(ordered) >= 100), 10.0, 1.0)


def _count(histogram: Histogram, values: Array) -> Counts:
    if histogram.kind == "text":
        return _count_text(histogram.categories, values)
    if values.dtype.kind not in "biuf":
        values = _numbers(values)
    return _count_numbers(np.array(histogram.edges), values.astype(np.float64, copy=False))


def _count_numbers(edges: Floats, values: Floats) -> Counts:
    present = values[~np.isnan(values)]
    missing = len(values) - len(present)
    if not len(edges):
        return np.array([0, len(present), missing])
    body = np.bincount(np.searchsorted(edges[1:-1], present, side="left"), minlength=len(edges) - 1)
    below = np.count_nonzero(present < edges[0])
    above = np.count_nonzero(present > edges[-1])
    body[0] -= below
    body[-1] -= above
    return np.array([below, *body, above, missing], dtype=np.int64)


def _count_text(categories: tuple[str, ...], values: Array) -> Counts:
    places: dict[str | None, int] = {name: place for place, name in enumerate(categories)}
    other = len(categories)
    places[None] = other + 1
    found = np.fromiter((places.get(value, other) for value in _texts(values)), dtype=np.int64, count=len(values))
    return np.bincount(found, minlength=other + 2).astype(np.int64)


def _texts(values: Array) -> list[str | None]:
    """Values as text; missing ones (None, NaN, empty) as None."""
    return [
        value if value.__class__ is str and value else None if _absent(value) else str(value)
        for value in values.tolist()
    ]


def _absent(value: object) -> bool:
    return value is None or value == "" or value != value  # noqa: PLR0124 - NaN alone differs from itself


def _numbers(values: Array) -> Floats:
    """A column of another type than its reference: what is no number counts as missing."""
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values.tolist()):
        if isinstance(value, int | float):
            numbers[place] = value
    return numbers
