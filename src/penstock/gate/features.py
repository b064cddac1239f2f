"""Inputs as one matrix of numbers, for whatever looks at rows rather than asks the model (part of ``gate``).

What comes in: conformed inputs of several parts. What goes out: one matrix a part, columns alike; text becomes its
place among all texts in alphabetical order, infinities become missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from penstock.statistics.metrics import FloatArray
from penstock.tensors import Array, Arrays

SIGNIFICANT = 4


def features_of(parts: Sequence[Arrays]) -> list[FloatArray]:
    """``(rows, columns)`` of each part."""
    ends = np.cumsum([len(next(iter(part.values()))) for part in parts])[:-1]
    columns = [_numbers(np.concatenate([part[name] for part in parts])) for name in parts[0]]
    return list(np.split(np.concatenate(columns, axis=1), ends))


def row_keys(features: FloatArray) -> npt.NDArray[np.void]:
    """Equal for rows whose every column agrees to four significant digits, ``(rows,)``."""
    filled = np.nan_to_num(features, nan=-1.2345678e300)
    size = np.floor(np.log10(np.maximum(np.abs(filled), 1e-300)))
    scale = 10.0 ** np.clip(SIGNIFICANT - 1 - size, -290, 290)
    rounded = np.ascontiguousarray(np.round(filled * scale) / scale + 0.0)
    keys: npt.NDArray[np.void] = rounded.view(np.dtype((np.void, rounded.dtype.itemsize * rounded.shape[1]))).reshape(
        -1
    )
    return keys


def _numbers(array: Array) -> FloatArray:
    table = array.reshape(len(array), -1)
    if table.dtype.kind != "O":
        numbers = table.astype(np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    codes = [np.unique(column.astype(str), return_inverse=True)[1].reshape(-1) for column in table.T]
    return np.column_stack(codes).astype(np.float64)
