"""Stage 4, serve: rows as a Parquet file.

Comes in: a file of flat columns. Goes out: one array an input, the columns found by name. A float of another width is
read as the signature's, as a number in JSON is. Loaded at the first such body, and only where pyarrow is installed.
"""

from __future__ import annotations

import numpy as np
import pyarrow
from pyarrow import parquet

from penstock.errors import InvalidInput
from penstock.serve.cells import columns_of, places_of, shaped_rows
from penstock.serve.rowvalues import is_matrix
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

WHERE = "body"
MOST_BYTES = 256 << 20
"""Of all columns, unpacked: a small file can hold one value very often."""
CELL_BYTES = 8
"""What a value takes at least once it is here, however short it is in the file."""
_PREFIXED = "DELTA_BYTE_ARRAY"
"""An encoding that writes a long text as how much of the last one it repeats."""


class ParquetRows:
    """Reads Parquet files."""

    @staticmethod
    def read(body: bytes, signature: Signature) -> Arrays:
        """One array an input.

        Raises:
            InvalidInput: It is no such file, is too large unpacked, or lacks a column.
        """
        try:
            file = parquet.ParquetFile(pyarrow.BufferReader(body))
            header = file.schema_arrow.names
            order = places_of(header, columns_of(signature), WHERE)
            _hold(file.metadata)
            # A text that is in the file once, and meant very often, must not be written out before it is counted.
            texts = [header[at] for at in order if _is_text(file.schema_arrow.field(at).type)]
            file = parquet.ParquetFile(pyarrow.BufferReader(body), read_dictionary=texts)
            table = file.read(columns=[header[at] for at in order], use_threads=False)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError):
            raise InvalidInput("the body is no Parquet file", "send it whole", where=WHERE) from None
        columns = [table.column(header[at]) for at in order]
        if not is_matrix(signature):
            pairs = zip(signature.inputs, columns, strict=True)
            return {spec.name: _values(one, spec, spec.name).reshape(-1, 1) for spec, one in pairs}
        spec = signature.inputs[0]
        matrix: Array = np.stack(
            [_values(one, spec, header[at]) for one, at in zip(columns, order, strict=True)], axis=1
        )
        return {spec.name: shaped_rows(matrix, spec)}


def _hold(metadata: parquet.FileMetaData) -> None:
    """Refuse a file that is larger unpacked than any body may be."""
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if max(size, CELL_BYTES * metadata.num_rows * metadata.num_columns) > MOST_BYTES:
        raise _too_large()
    if any(_PREFIXED in group.column(at).encodings for group in groups for at in range(group.num_columns)):
        raise InvalidInput("the file has texts in an encoding that is not read", "write them plain", where=WHERE)


def _too_large() -> InvalidInput:
    return InvalidInput("the file is too large unpacked", "send fewer rows", code="serve.too_large", where=WHERE)


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _texts(column: pyarrow.ChunkedArray) -> Array:
    """Texts by their dictionary, so that one that is there often is in memory once."""
    parts: list[Array] = [np.empty(0, object)]
    size = 0
    for chunk in column.chunks:
        words = np.array([*chunk.dictionary.to_pylist(), None], object)
        lengths = np.array([len(word or "") for word in words])
        places = chunk.indices.fill_null(len(words) - 1).to_numpy()
        size += int(lengths[places].sum())
        if size > MOST_BYTES:
            raise _too_large()
        parts.append(words[places])
    return np.concatenate(parts)


def _values(column: pyarrow.ChunkedArray, spec: TensorSpec, name: str) -> Array:
    """A column in the signature's datatype, where that is a matter of width alone."""
    kind, where = column.type, f"{WHERE}.{name}"
    if spec.datatype == "BYTES":
        if not (pyarrow.types.is_dictionary(kind) and _is_text(kind.value_type)):
            raise _misfit(spec, where)
        return _texts(column)
    whole = pyarrow.types.is_integer(kind)
    fits = {
        "BOOL": pyarrow.types.is_boolean(kind),
        **dict.fromkeys(FLOATS, whole or pyarrow.types.is_floating(kind) or pyarrow.types.is_null(kind)),
    }
    if not fits.get(spec.datatype, whole):
        raise _misfit(spec, where)
    if spec.datatype in FLOATS:
        return np.array([np.nan if one is None else one for one in column.to_pylist()], np.float64).astype(
            DTYPES[spec.datatype]
        )
    if column.null_count:
        raise InvalidInput("a value is missing, and the model wants each", "fill it in before you send it", where=where)
    try:
        return np.array(column.to_pylist(), DTYPES[spec.datatype])
    except OverflowError:
        raise InvalidInput(f"a value is out of the range of {spec.datatype}", where=where) from None


def _misfit(spec: TensorSpec, where: str) -> InvalidInput:
    return InvalidInput(f"the value is not {spec.datatype}", "look at the model's metadata", where=where)
