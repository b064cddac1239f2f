"""A logged exchange as the JSON that was asked and answered, in KServe's V1 or V2.

Comes in: an exchange, whose columns are plain values, and the signature of the version that answered. Goes out: a
request's and a response's body. They are the conformed values, not the caller's own bytes, which nobody keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from penstock.records import Column, Exchange
from penstock.tensors import Signature, TensorSpec

Form = Literal["v1", "v2"]
_encode = msgspec.json.Encoder().encode


def request_body(exchange: Exchange, signature: Signature, form: Form) -> bytes:
    """``{"instances": [...]}``, or ``{"id", "inputs": [...]}``; missing numbers are null."""
    if form == "v1":
        return _encode({"instances": _rows(exchange.inputs, signature.inputs)})
    return _encode({"id": exchange.client_id or exchange.id, "inputs": _tensors(exchange.inputs, signature.inputs)})


def response_body(exchange: Exchange, signature: Signature, form: Form) -> bytes:
    """``{"predictions": [...]}``, or ``{"model_name", "model_version", "id", "outputs": [...]}``."""
    if form == "v1":
        return _encode({"predictions": _rows(exchange.outputs, signature.outputs)})
    return _encode(
        {
            "model_name": exchange.endpoint,
            "model_version": str(exchange.version),
            "id": exchange.client_id or exchange.id,
            "outputs": _tensors(exchange.outputs, signature.outputs),
        }
    )


def _rows(columns: Mapping[str, Column], specs: Sequence[TensorSpec]) -> Column:
    """A row is the value of the only column, or an object by column."""
    there = [spec.name for spec in specs if spec.name in columns]
    if len(specs) == 1:
        return columns[there[0]] if there else []
    names = dict.fromkeys(there)
    return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in there), strict=True)]  # type: ignore[misc]


def _tensors(columns: Mapping[str, Column], specs: Sequence[TensorSpec]) -> list[dict[str, object]]:
    """Each column with its datatype and shape, its values flat."""
    return [
        {
            "name": spec.name,
            "datatype": spec.datatype,
            "shape": [len(columns[spec.name]), *_row_shape(columns[spec.name], spec)],
            "data": _flat(columns[spec.name]),
        }
        for spec in specs
        if spec.name in columns
    ]


def _row_shape(column: Column, spec: TensorSpec) -> list[int]:
    """As the signature has it; what is free there is as large as the first row's."""
    shape = list(spec.shape[1:])
    row: object = column[0] if column else []
    for place, size in enumerate(shape):
        found = len(row) if isinstance(row, list) else 1
        shape[place] = found if size == -1 else size
        row = row[0] if isinstance(row, list) and row else 0
    return shape


def _flat(value: object) -> list[object]:
    return [one for part in value for one in _flat(part)] if isinstance(value, list) else [value]
