"""Stage 4, serve: the usual inference message of the Open Inference Protocol V2 over gRPC: one row, every input raw.

Comes in: a ModelInferRequest. A client sends the same message again and again but for the raw bytes at its end: what
comes before them is parsed once, and looked up by its bytes from then on. Goes out: a ModelInferResponse, raw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple, cast

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.infermessage import RAW, read_request, write_response
from penstock.serve.protocol import Prediction, Request
from penstock.serve.rowcodec import NOTHING_SAID, Bodies, Row, RowCodec, RunAnswers, Said
from penstock.serve.stacking import MOST_VALUES
from penstock.serve.tensordata import to_raw
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec, conform

MOST_PARTS = 64
MOST_BYTES = 4096
_RAW_INPUT = 0x3A
_RAW_OUTPUT = 0x32
"""Fields 7 of a request and 6 of a response, both bytes: the last ones of their messages."""
_RAW_REQUEST = Request({}, binary=frozenset((RAW,)))
"""A request that says nothing but its tensors."""


class GrpcRow(NamedTuple):
    """A message whose beginning is known, and that beginning's length."""

    body: bytes
    start: int


class V2GrpcRows:
    """Usual messages for one signature."""

    @staticmethod
    def fit(signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
        """See `RowCodecType.fit`."""
        del headers  # they say nothing about the message
        return _codec(signature)

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._inputs = [(spec.name, DTYPES[spec.datatype], spec.shape[1:]) for spec in signature.inputs]
        self._fields = [(_field(_RAW_INPUT, size), size) for size in map(_row_bytes, signature.inputs)]
        self._tail = sum(len(field) + size for field, size in self._fields)
        self._known: set[bytes] = set()
        self._templates: dict[tuple[object, ...], bytes] = {}

    def decode(self, body: bytes) -> Row:
        """See `RowCodec.decode`."""
        start = len(body) - self._tail
        if start <= 0 or body[:start] not in self._known:
            self._learn(body, start)
        at = start
        for field, size in self._fields:
            if not body.startswith(field, at):
                raise msgspec.DecodeError("its raw tensors are others")
            at += len(field) + size
        return GrpcRow(body, start)

    def said(self, rows: Sequence[Row]) -> Said:
        """See `RowCodec.said`."""
        del rows
        return NOTHING_SAID

    def stack(self, rows: Sequence[Row]) -> Arrays:
        """See `RowCodec.stack`."""
        messages = cast("Sequence[GrpcRow]", rows)
        arrays: Arrays = {}
        skipped = 0
        for (name, dtype, shape), (field, size) in zip(self._inputs, self._fields, strict=True):
            skipped += len(field)
            data = b"".join([body[start + skipped : start + skipped + size] for body, start in messages])
            array: Array = np.frombuffer(data, dtype if dtype.kind != "b" else np.uint8)
            arrays[name] = (array if dtype.kind != "b" else array != 0).reshape(len(messages), *shape)
            skipped += size
        return conform(self._signature, arrays)

    def encode(self, answers: RunAnswers) -> Bodies:
        """See `RowCodec.encode`."""
        columns = [_raw_fields(array) for array in answers.outputs.values()]
        contents = [
            self._head(answers, own_id) % (own, own) + b"".join(fields)
            for own_id, own, *fields in zip(answers.ids, map(str.encode, answers.ids), *columns, strict=True)
        ]
        return Bodies([b""] * len(contents), contents)

    def _head(self, answers: RunAnswers, own_id: str) -> bytes:
        """An answer up to its raw tensors, with places for our id; lengths depend on the id's."""
        shapes = [array.shape[1:] for array in answers.outputs.values()]
        key = (answers.endpoint, answers.version, len(own_id), *shapes)
        template = self._templates.get(key)
        if template is None:
            place = "~" * len(own_id)
            row = {name: array[:1] for name, array in answers.outputs.items()}
            made = write_response(_RAW_REQUEST, Prediction(place, answers.endpoint, answers.version, row))
            made = made[: len(made) - sum(len(_raw_fields(array)[0]) for array in row.values())]
            template = self._templates[key] = made.replace(b"%", b"%%").replace(place.encode(), b"%b")
        return template

    def _learn(self, body: bytes, start: int) -> None:
        """Remember the beginning of a message, if that is usual; few are kept."""
        if not 0 < start <= MOST_BYTES:
            raise msgspec.DecodeError("it has another length")
        try:
            request = read_request(body, (_model_name(body), ""), self._signature)
        except InvalidInput:
            raise msgspec.DecodeError("it is not usual") from None
        arrays = request.arrays
        fits = list(arrays) == [name for name, *_ in self._inputs] and all(
            arrays[name].shape == (1, *shape) and arrays[name].dtype == dtype for name, dtype, shape in self._inputs
        )
        if not fits or msgspec.structs.replace(request, arrays={}) != _RAW_REQUEST:
            raise msgspec.DecodeError("it is not usual")
        if len(self._known) >= MOST_PARTS:
            self._known.clear()
        self._known.add(body[:start])


@lru_cache(64)
def _codec(signature: Signature) -> RowCodec | None:
    fixed = all(
        spec.shape[0] == -1 and -1 not in spec.shape[1:] and 0 < prod(spec.shape[1:]) <= MOST_VALUES
        for spec in signature.inputs
    )
    return V2GrpcRows(signature) if fixed and all(s.datatype != "BYTES" for s in signature.inputs) else None


def _model_name(body: bytes) -> str:
    """The text that the message begins with, by which it was let in."""
    if body[:1] != b"\x0a" or body[1] > 127:
        raise msgspec.DecodeError("it does not begin with the model's name")
    return body[2 : 2 + body[1]].decode("utf-8", "replace")


def _row_bytes(spec: TensorSpec) -> int:
    return prod(spec.shape[1:]) * DTYPES[spec.datatype].itemsize


def _field(tag: int, size: int) -> bytes:
    """What stands before `size` bytes of a field: its tag and a base-128 number."""
    made = bytearray((tag,))
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    made.append(size)
    return bytes(made)


def _raw_fields(array: Array) -> list[bytes]:
    """Each row's raw bytes as a field of a response."""
    if array.dtype.kind == "O":
        rows = [to_raw(array[row : row + 1]) for row in range(len(array))]
        return [_field(_RAW_OUTPUT, len(row)) + row for row in rows]
    size = array.nbytes // len(array)
    whole, head = to_raw(array), _field(_RAW_OUTPUT, size)
    return [head + whole[at : at + size] for at in range(0, len(whole), size)]
