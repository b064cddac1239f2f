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
    """Numbers as JSON: what stands between two rows is taken out, and where it stood is the place to cut."""
    text = _json(array.tolist())[1:-1]
    if array.ndim == 1:
        cuts = np.flatnonzero(np.frombuffer(text, np.uint8) == _COMMA) - np.arange(len(array) - 1)
        text = text.replace(b",", b"")
    else:
        text = text.replace(b"],[", b"][")
        cuts = np.flatnonzero(np.frombuffer(text, np.uint8) == _CLOSED)[:-1] + 1
    offsets = np.concatenate([[0], cuts, [len(text)]]).astype(np.int32)
    return pa.StringArray.from_buffers(len(array), pa.py_buffer(offsets), pa.py_buffer(text))
