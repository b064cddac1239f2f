"""Parts of the data that a reader would ask about (part of ``gate``).

What comes in: the validation rows. What goes out: the leading metric on each value of each column with few values,
and on the quarters of the others, where enough rows are left to tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.gate.check import Candidate
from penstock.statistics.intervals import Estimate, Precision, estimate
from penstock.statistics.metrics import Metric
from penstock.tensors import Array, Arrays

MIN_ROWS = 200
MAX_LEVELS = 12
MAX_COLUMNS = 20
_PRECISION = Precision(confidence=0.99, replicates=100)


class Slice(NamedTuple):
    """One part: what it is called, and the metric on it at 99 % confidence (there are many slices)."""

    name: str
    found: Estimate


def slices_of(candidate: Candidate, metric: Metric) -> list[Slice]:
    """The metric on every slice that has at least 200 rows and can give it."""
    answers, units = candidate.validated, candidate.data.units("validation")
    found: list[Slice] = []
    for name, mask in _masks(candidate.data.validation.inputs):
        mine = None if units is None else np.unique(units[mask], return_inverse=True)[1].reshape(-1).astype(np.int64)
        one = estimate(metric.name, answers.take(mask), mine, precision=_PRECISION)
        if isinstance(one, Estimate):
            found.append(Slice(name, one))
    return found


def _masks(inputs: Arrays) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Names and rows of the slices."""
    columns = [(name, array.reshape(-1)) for name, array in inputs.items() if array.size == len(array)]
    for name, values in columns[:MAX_COLUMNS]:
        for label, mask in _cut(values):
            if MIN_ROWS <= mask.sum() < len(mask):
                yield f"{name} {label}", mask


def _cut(values: Array) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """One column's levels, or quarters where it has too many."""
    if values.dtype.kind == "O":
        values = values.astype(str)
    levels, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    codes = codes.reshape(-1)
    if values.dtype.kind == "U" or len(levels) <= MAX_LEVELS:
        for code in np.argsort(-counts, kind="stable")[:MAX_LEVELS]:
            yield f"= {_level(levels[code])}", codes == code
        return
    edges = np.nanquantile(values.astype(np.float64), [0, 0.25, 0.5, 0.75, 1])
    for low, high in pairwise(edges):
        yield (
            f"{_level(low)} to {_level(high)}",
            (values >= low) & ((values < high) | ((high == edges[-1]) & (values == high))),
        )


def _level(level: np.generic) -> str:
    """A value as a reader writes it."""
    if not isinstance(level, np.number):
        return str(level) or "(missing)"
    number = float(level)
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"
