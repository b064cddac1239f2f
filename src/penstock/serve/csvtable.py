"""Stage 4, serve: rows as CSV (RFC 4180), in and out.

Comes in: lines with or without a header, which is told by the model's own names. Goes out: one line a row, the values
of all outputs one after the other. A text that is missing and one that is empty look the same here.
"""

from __future__ import annotations

import csv
import io
from itertools import islice

import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.cells import columns_of, from_cells
from penstock.serve.rowvalues import MOST_ROWS, too_many_rows
from penstock.tensors import Arrays, Signature

WHERE = "rows"


def read_csv(body: bytes, signature: Signature, *, header: bool | None = None) -> Arrays:
    """One array an input.

    Args:
        body: UTF-8.
        signature: The model's.
        header: Whether the first line names the columns; None looks.

    Raises:
        InvalidInput: With the cell's place and never its value.
    """
    try:
        text = body.decode("utf-8-sig")
        lines = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
        rows = list(islice(lines, MOST_ROWS + 2))
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8", "send CSV in UTF-8", where="body") from None
    except csv.Error:
        raise InvalidInput("the body is no CSV", "send lines of values with commas between", where="body") from None
    if not rows:
        raise InvalidInput("there are no rows", "send a line for each", where=WHERE)
    named = _is_header(rows[0], signature) if header is None else header
    if len(rows) - named > MOST_ROWS:
        raise too_many_rows(WHERE)
    return from_cells([name.strip() for name in rows[0]] if named else None, rows[named:], signature, WHERE)


def write_csv(outputs: Arrays) -> bytes:
    """One line a row; what is no number is an empty cell."""
    columns = [array.reshape(len(array), -1).tolist() for array in outputs.values()]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    for parts in zip(*columns, strict=True):
        writer.writerow([_cell(value) for part in parts for value in part])
    return written.getvalue().encode()


def _is_header(first: list[str], signature: Signature) -> bool:
    """Whether a first line holds a name of the model's, or, where it has none, nothing but words."""
    known = {name for name in columns_of(signature) if name}
    cells = [cell.strip() for cell in first]
    if known:
        return not known.isdisjoint(cells)
    return signature.inputs[0].datatype != "BYTES" and not any(map(_is_value, cells))


def _is_value(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return cell.lower() in ("true", "false")
    return True


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if isinstance(value, float) and not np.isfinite(value) else value
