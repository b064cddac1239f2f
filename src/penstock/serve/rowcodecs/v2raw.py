"""Stage 4, serve: the usual binary request of the Open Inference Protocol V2: one row, every input raw.

Comes in: a JSON part and raw tensors behind it. A client sends the same JSON part again and again: it is parsed once,
and looked up by its bytes from then on. Goes out: the dialect's answer, raw or JSON output by output as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod
from types import GenericAlias
from typing import Literal, NamedTuple, cast

import msgspec
import numpy as np

from penstock.serve.rowcodec import NOTHING_SAID, Bodies, Row, RowCodec, RunAnswers, Said
from penstock.serve.stacking import MOST_VALUES
from penstock.serve.tensordata import to_raw
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec, conform, datatype_of, json_rows

MOST_PARTS = 64
_json = msgspec.json.Encoder().encode


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    binary_data: bool | None = None


class _Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    parameters: _Asked = _Asked()


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    binary_data_output: bool = False


class _Part(msgspec.Struct, forbid_unknown_fields=True):
    """What every signature's JSON part has beside its inputs."""

    parameters: _Parameters = _Parameters()
    outputs: list[_Output] = []


class Plan(NamedTuple):
    """What a JSON part asks for: outputs by name, empty for all, and which of them raw."""

    wanted: tuple[str, ...]
    raw: frozenset[str]


class RawRow(NamedTuple):
    """One request; it names no id, key or time of its own."""

    plan: Plan
    body: bytes


class V2RawRows:
    """Usual binary requests for one signature with a JSON part of one length."""

    @staticmethod
    def fit(signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
        """See `RowCodecType.fit`."""
        length = headers.get(b"inference-header-content-length", b"")
        return _codec(signature, int(length)) if length.isdigit() and 0 < int(length) < 4096 else None

    def __init__(self, signature: Signature, length: int) -> None:
        self._signature = signature
        self._length = length
        self._inputs = [(spec.name, DTYPES[spec.datatype], spec.shape[1:]) for spec in signature.inputs]
        self._sizes = [_size(spec) for spec in signature.inputs]
        self._whole = length + sum(self._sizes)
        self._decode = cast("Callable[[bytes], _Part]", msgspec.json.Decoder(_part(signature, self._sizes)).decode)
        self._plans: dict[bytes, Plan] = {}

    def decode(self, body: bytes) -> Row:
        """See `RowCodec.decode`."""
        part = body[: self._length]
        plan = self._plans.get(part)
        if plan is None:
            plan = self._learn(part)
        if len(body) != self._whole:
            raise msgspec.DecodeError("it has another length")
        return RawRow(plan, body)

    def said(self, rows: Sequence[Row]) -> Said:
        """See `RowCodec.said`."""
        del rows
        return NOTHING_SAID

    def stack(self, rows: Sequence[Row]) -> Arrays:
        """See `RowCodec.stack`."""
        bodies = [cast("RawRow", row).body for row in rows]
        arrays: Arrays = {}
        start = self._length
        for (name, dtype, shape), size in zip(self._inputs, self._sizes, strict=True):
            data = b"".join([body[start : start + size] for body in bodies])
            array: Array = np.frombuffer(data, dtype if dtype.kind != "b" else np.uint8)
            arrays[name] = (array if dtype.kind != "b" else array != 0).reshape(len(bodies), *shape)
            start += size
        return conform(self._signature, arrays)

    def encode(self, answers: RunAnswers) -> Bodies:
        """See `RowCodec.encode`."""
        rows = {name: _Rows(array) for name, array in answers.outputs.items()}
        head = b'{"model_name":%b,"model_version":%b,"id":' % (_json(answers.endpoint), _json(answers.version))
        plans = [cast("RawRow", row).plan for row in answers.rows]
        ids = [own.encode() for own in answers.ids]
        answered = [
            _answer(head + b'"%b","parameters":{"prediction_id":"%b"},"outputs":[' % (own, own), rows, plan, index)
            for index, (own, plan) in enumerate(zip(ids, plans, strict=True))
        ]
        return Bodies(*zip(*answered, strict=True))

    def _learn(self, part: bytes) -> Plan:
        """The plan of a JSON part; few are kept, so that a client with a new one each time costs no memory."""
        asked = self._decode(part)
        known = {spec.name for spec in self._signature.outputs}
        names = tuple(output.name for output in asked.outputs)
        if not known.issuperset(names):
            raise msgspec.DecodeError("it names another output")
        default = asked.parameters.binary_data_output
        raw = {output.name for output in asked.outputs if _or(output.parameters.binary_data, default)}
        plan = Plan(names, frozenset(raw if names else known if default else ()))
        if len(self._plans) >= MOST_PARTS:
            self._plans.clear()
        self._plans[part] = plan
        return plan


@lru_cache(256)
def _codec(signature: Signature, length: int) -> RowCodec | None:
    fixed = all(
        spec.shape[0] == -1 and -1 not in spec.shape[1:] and 0 < prod(spec.shape[1:]) <= MOST_VALUES
        for spec in signature.inputs
    )
    plain = all(spec.datatype != "BYTES" for spec in signature.inputs)
    return V2RawRows(signature, length) if fixed and plain else None


class _Rows:
    """An output's rows as they may be asked for; what nobody asks for is not made."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self._texts: list[bytes] = []
        self._raw = b""
        self.size = 0 if array.dtype.kind == "O" else array.nbytes // len(array)
        self.name = datatype_of(array.dtype).encode()
        self.shape = _json((1, *array.shape[1:]))

    def text(self, row: int) -> bytes:
        if not self._texts:
            self._texts = json_rows(self._array)
        return self._texts[row]

    def raw(self, row: int) -> bytes:
        if not self.size:
            return to_raw(self._array[row : row + 1])
        if not self._raw:
            self._raw = to_raw(self._array)
        return self._raw[row * self.size : (row + 1) * self.size]


def _answer(head: bytes, rows: dict[str, _Rows], plan: Plan, row: int) -> tuple[bytes, bytes]:
    """A row's header lines and content."""
    parts: list[bytes] = []
    tail: list[bytes] = []
    for name, one in rows.items():
        if plan.wanted and name not in plan.wanted:
            continue
        line = b'{"name":%b,"datatype":"%b","shape":%b,' % (_json(name), one.name, one.shape)
        if name in plan.raw:
            tail.append(one.raw(row))
            parts.append(line + b'"parameters":{"binary_data_size":%d}}' % len(tail[-1]))
        else:
            parts.append(line + b'"data":[%b]}' % one.text(row))
    text = head + b",".join(parts) + b"]}"
    if not tail:
        return b"content-type: application/json\r\n", text
    length = b"inference-header-content-length: %d\r\n" % len(text)
    return b"content-type: application/octet-stream\r\n" + length, text + b"".join(tail)


def _part(signature: Signature, sizes: Sequence[int]) -> type:
    """The JSON part as a type: each input's name, datatype, shape and size are the only ones."""
    inputs = tuple(_input(spec, size) for spec, size in zip(signature.inputs, sizes, strict=True))
    fields = [("inputs", GenericAlias(tuple, inputs))]
    return msgspec.defstruct("Part", fields, bases=(_Part,), kw_only=True, forbid_unknown_fields=True)


def _input(spec: TensorSpec, size: int) -> type:
    sized = msgspec.defstruct("Sized", [("binary_data_size", Literal[size])], forbid_unknown_fields=True)
    shape = GenericAlias(tuple, tuple(Literal[length] for length in (1, *spec.shape[1:])))
    fields = [("name", Literal[spec.name]), ("shape", shape), ("datatype", Literal[spec.datatype])]
    return msgspec.defstruct("Input", [*fields, ("parameters", sized)], forbid_unknown_fields=True)


def _size(spec: TensorSpec) -> int:
    """Bytes of a row."""
    return prod(spec.shape[1:]) * DTYPES[spec.datatype].itemsize


def _or(value: bool | None, default: bool) -> bool:
    return default if value is None else value
