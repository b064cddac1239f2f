"""Stage 4, serve: a table of text to one array an input, by the signature's datatypes.

    header, rows of cells --columns by name, or in order--> arrays, or the error with the cell's place

An empty cell is a missing value. A number is written as JSON writes it; nothing is guessed from how a cell looks. A
column that the model does not have is left out, as MLflow leaves it out: one that it has cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.rowvalues import is_matrix
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

Cells = Sequence[Sequence[str]]
_TRUTHS = {"true": True, "false": False}


def from_cells(header: Sequence[str] | None, rows: Cells, signature: Signature, where: str) -> Arrays:
    """One array an input.

    Args:
        header: Names of the columns; None where they come in the signature's order.
        rows: All as long as the header.
        signature: The model's.
        where: Path of the table, for errors.

    Raises:
        InvalidInput: With the column's name or the cell's place.
    """
    wanted = columns_of(signature)
    width = len(header) if header is not None else len(rows[0]) if rows else len(wanted)
    for at, row in enumerate(rows):
        if len(row) != width:
            raise InvalidInput(f"the row has {len(row)} values and not {width}", where=f"{where}[{at}]")
    if header is None:
        if wanted and width != len(wanted):
            raise InvalidInput(f"the rows have {width} values and the model wants {len(wanted)}", where=where)
        order = list(range(width))
    else:
        order = places_of(header, wanted, where)
    if not is_matrix(signature):
        return {
            spec.name: _parsed([row[at] for row in rows], spec, where, spec.name).reshape(-1, 1)
            for spec, at in zip(signature.inputs, order, strict=True)
        }
    spec = signature.inputs[0]
    parsed = [_parsed([row[at] for row in rows], spec, where, str(place)) for place, at in enumerate(order)]
    table: Array = np.stack(parsed, axis=1) if parsed else np.empty((len(rows), 0), DTYPES[spec.datatype])
    return {spec.name: shaped_rows(table, spec)}


def columns_of(signature: Signature) -> list[str]:
    """Names of a row's values in the signature's order; "" where a matrix names none; empty where its width is free."""
    if not is_matrix(signature):
        return [spec.name for spec in signature.inputs]
    spec = signature.inputs[0]
    if spec.columns:
        return list(spec.columns)
    sizes = spec.shape[1:]
    return [""] * int(np.prod(sizes)) if -1 not in sizes else []


def places_of(header: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    """Where the model's columns stand in a table's.

    Raises:
        InvalidInput: One is missing, which is named; or is there twice; or there are too many without names.
    """
    if not any(wanted):
        if wanted and len(header) != len(wanted):
            raise InvalidInput(f"the rows have {len(header)} values and the model wants {len(wanted)}", where=where)
        return list(range(len(header)))
    found: dict[str, int] = {}
    for at, name in enumerate(header):
        if name in found and name in wanted:
            raise InvalidInput("the column is there twice", "send it once", where=f"{where}.{name}")
        found[name] = at
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InvalidInput(
            f"{'a column is' if len(missing) == 1 else f'{len(missing)} columns are'} missing",
            f"send {', '.join(missing[:10])}{' ...' if len(missing) > 10 else ''}",
            where=f"{where}.{missing[0]}",
        )
    return [found[name] for name in wanted]


def shaped_rows(table: Array, spec: TensorSpec) -> Array:
    """Rows of single values in the shape of a model's one input, where that is fixed."""
    sizes = spec.shape[1:]
    return table if len(spec.shape) == 2 or -1 in sizes else table.reshape(len(table), *sizes)


def _parsed(cells: list[str], spec: TensorSpec, where: str, name: str) -> Array:
    """The cells of one column."""
    if spec.datatype == "BYTES":
        texts = np.empty(len(cells), object)
        texts[:] = [cell or None for cell in cells]
        return texts
    try:
        if spec.datatype in FLOATS:
            if any("_" in cell for cell in cells):
                raise ValueError
            return np.array([cell.strip() or "nan" for cell in cells], np.float64).astype(DTYPES[spec.datatype])
        return np.array([_whole(cell, spec.datatype) for cell in cells], DTYPES[spec.datatype])
    except OverflowError:
        raise InvalidInput(f"a value is out of the range of {spec.datatype}", where=f"{where}.{name}") from None
    except (ValueError, KeyError):
        raise InvalidInput(
            f"the value is not {spec.datatype}", "look at the model's metadata", where=_first(cells, spec, where, name)
        ) from None


def _whole(cell: str, datatype: str) -> int | bool:
    if datatype == "BOOL":
        return _TRUTHS[cell.strip().lower()]
    if "_" in cell:
        raise ValueError
    return int(cell)


def _first(cells: list[str], spec: TensorSpec, where: str, name: str) -> str:
    """Where the first cell stands that does not fit."""
    for at, cell in enumerate(cells):
        try:
            if "_" in cell:
                raise ValueError
            if spec.datatype in FLOATS:
                float(cell.strip() or "nan")
            else:
                _whole(cell, spec.datatype)
        except (ValueError, KeyError):
            return f"{where}[{at}].{name}"
    return where
