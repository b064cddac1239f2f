"""Rows made up from what a model knows, where nobody gave any: thresholds, categories, and numbers around zero.

They show whether a graph answers as the original does; they say nothing of the data that will come.
"""

from __future__ import annotations

import numpy as np

from penstock.build.categories import known_categories
from penstock.build.format import Original, Specs
from penstock.tensors import DTYPES, Arrays

ROWS = 128


def synthetic_rows(original: Original, inputs: Specs) -> Arrays:
    """Rows that fit the inputs; the same ones every time."""
    random = np.random.default_rng(0)
    known = known_categories(getattr(original, "estimator", None))
    rows: Arrays = {}
    for spec in inputs:
        shape = (ROWS, *(1 if size == -1 else size for size in spec.shape[1:]))
        if spec.datatype == "BYTES":
            choices = np.array(known.get(spec.name) or ("other",), dtype=object)
            rows[spec.name] = choices[random.integers(0, len(choices), shape)]
        elif spec.datatype == "BOOL":
            rows[spec.name] = random.random(shape) < 0.5
        elif spec.datatype.startswith("FP"):
            rows[spec.name] = (random.standard_normal(shape) * 10.0 ** random.integers(-1, 3, shape)).astype(
                DTYPES[spec.datatype]
            )
        else:
            rows[spec.name] = random.integers(0, 100, shape).astype(DTYPES[spec.datatype])
    return rows
