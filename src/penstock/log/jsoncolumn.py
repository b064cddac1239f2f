"""One input or output of many predictions as JSON texts, without a Python object for each.

numbers -> one JSON text for all -> cut where a row ends -> Arrow strings
"""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from penstock.log.captures import Block, columns, values
from penstock.tensors import Array

_AT_ONCE = 512
_COMMA, _CLOSED = b",]"
_json = msgspec.json.Encoder().encode


def json_column(block: Block) -> pa.Array:
    """One text a row; a column of one value as that value.

    Raises:
        Corrupt: The array is not as large as it says.
    """
    array = values(block)
    if array is None or not array.size or array.ndim > 2:
        return pa.array([_json(value) for value in columns((block,))[block.name]], pa.string())
    # In parts: a million Python numbers at once cost more in memory's upkeep than in their text.
    return pa.concat_arrays([_texts(array[at : at + _AT_ONCE]) for at in range(0, len(array), _AT_ONCE)])


def _texts(array: Array) -> pa.Array:
    """Numbers as JSON: one text for all of them, cut where a row ends."""
    text = _json(array.tolist())[1:-1]
    buffer = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(buffer == _CLOSED) + 1 if array.ndim == 2 else [*np.flatnonzero(buffer == _COMMA), len(text)]
    # Arrow's texts lie end to end, so each comma between two is a text, too, and is left out.
    offsets = np.zeros(2 * len(array), np.int32)
    offsets[1::2] = ends
    offsets[2::2] = offsets[1:-1:2] + 1
    whole = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text))
    return whole.take(pa.array(np.arange(0, len(offsets), 2)))
