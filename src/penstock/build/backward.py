"""Rows next to thresholds, found back through the steps that stand before a model.

What comes in: steps with what they learned, rows that the package takes, rows next to the model's own thresholds.
What goes out: raw rows that the steps bring next to these, or next to numbers at which a step changes what it does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from penstock.build.probes import complete
from penstock.build.schema import row_count, take
from penstock.runtime.transform import ColumnTable
from penstock.runtime.transformed import Transforms
from penstock.tensors import DTYPES, Array, Arrays, TensorSpec


def step_edges(transforms: Transforms, rows: Arrays) -> Iterator[Arrays]:
    """Rows next to numbers at which a step changes what it does, while the column is as it came."""
    plain = take(complete(rows), slice(0, 1))
    touched: set[str] = set()
    for _, step in transforms.before:
        for name, numbers in step.edges().items():
            if name in rows and name not in touched and rows[name].dtype.kind != "O":
                made = take(plain, np.zeros(len(numbers), dtype=np.int64))
                spec = next(one for one in transforms.inputs if one.name == name)
                made[name][:, 0] = _typed(np.array(numbers), spec)
                yield made
        touched |= set(step.columns)


def raw_rows(transforms: Transforms, inner: Arrays, rows: Arrays) -> Arrays:
    """Raw rows that come near those of the model's own."""
    count = row_count(inner)
    table: ColumnTable = {}
    for feed in transforms.feeds:
        matrix = inner[feed.spec.name].reshape(count, -1)
        table |= {name: matrix[:, place] for place, name in enumerate(feed.columns)}
    for _, step in reversed(transforms.before):
        table = step.back(table)
    spare = take(rows, np.arange(count) % row_count(rows))
    return {
        spec.name: _typed(table[spec.name], spec).reshape(-1, 1) if spec.name in table else spare[spec.name]
        for spec in transforms.inputs
    }


def _typed(values: Array, spec: TensorSpec) -> Array:
    """Values in a column's type; whole numbers are rounded to."""
    dtype = DTYPES[spec.datatype]
    if dtype.kind not in "iu" or values.dtype.kind != "f":
        return values.astype(dtype)
    limits = np.iinfo(str(dtype))
    return np.clip(np.rint(np.nan_to_num(values)), limits.min // 2, limits.max // 2).astype(dtype)
