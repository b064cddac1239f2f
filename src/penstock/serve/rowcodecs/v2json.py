"""Stage 4, serve: the usual JSON request of the Open Inference Protocol V2: every input once, in order, one row.

Comes in: a body. Goes out: the dialect's answer. Types, names and shapes are the
decoder's own, so a request that fits is checked in one call; any other is refused here and told why by the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Literal, Protocol, cast

import msgspec

from penstock.serve.rowcodec import NOTHING_SAID, Bodies, Row, RowCodec, RunAnswers, Said
from penstock.serve.stacking import Stacking, Value, element_of, stacking_of, width_of
from penstock.tensors import Array, Arrays, Signature, TensorSpec, datatype_of, json_rows

_json = msgspec.json.Encoder().encode
_HEADERS = b"content-type: application/json\r\n"


class _Hints(msgspec.Struct, gc=False, frozen=True, forbid_unknown_fields=True):
    routing_key: str = ""
    event_time: Annotated[float, msgspec.Meta(ge=0, lt=1e11)] = 0.0


_PLAIN = _Hints()


class _Tensor(Protocol):
    data: tuple[Value, ...]


class _Request(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What every signature's request has beside its inputs."""

    id: str | None = None
    parameters: _Hints = _PLAIN


class _Decoded(Protocol):
    id: str | None
    parameters: _Hints
    inputs: tuple[_Tensor, ...]


class V2JsonRows:
    """Usual JSON requests for one signature."""

    @staticmethod
    def fit(signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
        """See `RowCodecType.fit`."""
        return None if b"inference-header-content-length" in headers else _codec(signature)

    def __init__(self, stacking: Stacking, decode: Callable[[bytes], Row], inputs: int) -> None:
        self.decode = decode
        self._stacking = stacking
        self._inputs = inputs
        self._templates: dict[tuple[object, ...], bytes] = {}

    def said(self, rows: Sequence[Row]) -> Said:
        """See `RowCodec.said`."""
        requests = cast("Sequence[_Decoded]", rows)
        if not any([row.id or row.parameters is not _PLAIN for row in requests]):  # noqa: C419 (a list is faster)
            return NOTHING_SAID
        hints = [row.parameters for row in requests]
        return Said(
            [one.routing_key for one in hints], [one.event_time for one in hints], [row.id or "" for row in requests]
        )

    def stack(self, rows: Sequence[Row]) -> Arrays:
        """See `RowCodec.stack`."""
        tensors = [row.inputs for row in cast("Sequence[_Decoded]", rows)]
        if self._inputs == 1:
            return self._stacking.stack_rows([one[0].data for one in tensors])
        flat = [[one.data[0] for one in column] for column in zip(*tensors, strict=True)]
        return self._stacking.stack(flat, len(rows))

    def encode(self, answers: RunAnswers) -> Bodies:
        """See `RowCodec.encode`."""
        outputs = answers.outputs
        shape = (answers.endpoint, answers.version, *[array.shape[1:] for array in outputs.values()])
        template = self._templates.get(shape)
        if template is None:
            template = self._templates[shape] = _template(answers.endpoint, answers.version, outputs)
        ids = quoted = _json(answers.ids)[1:-1].split(b",")  # they are plain
        if answers.client_ids:
            quoted = [_json(client) if client else own for client, own in zip(answers.client_ids, ids, strict=True)]
        columns = [json_rows(array) for array in outputs.values()]
        contents = [template % line for line in zip(quoted, ids, *columns, strict=True)]
        return Bodies([_HEADERS] * len(contents), contents)


@lru_cache(64)
def _codec(signature: Signature) -> RowCodec | None:
    stacking = stacking_of(signature)
    if stacking is None:
        return None
    inputs = GenericAlias(tuple, tuple(_tensor(spec) for spec in signature.inputs))
    request = msgspec.defstruct("Request", [("inputs", inputs)], bases=(_Request,), kw_only=True, gc=False)
    return V2JsonRows(
        stacking, cast("Callable[[bytes], Row]", msgspec.json.Decoder(request).decode), len(signature.inputs)
    )


def _tensor(spec: TensorSpec) -> type:
    """One input as a type: its name, datatype and shape are the only ones."""
    width = width_of(spec)
    lengths = (1,) if spec.shape == (-1,) else (1, width)
    shape = GenericAlias(tuple, tuple(Literal[length] for length in lengths))
    data = GenericAlias(tuple, (element_of(spec),) * width)
    fields = [("name", Literal[spec.name]), ("shape", shape), ("datatype", Literal[spec.datatype]), ("data", data)]
    return msgspec.defstruct("Tensor", fields, gc=False, forbid_unknown_fields=True)


def _template(endpoint: str, version: str, outputs: Arrays) -> bytes:
    """An answer with places for its id, our id and each output's values."""
    lines = b",".join(_output(name, array) for name, array in outputs.items())
    names = _literal(b'{"model_name":%b,"model_version":%b,"id":' % (_json(endpoint), _json(version)))
    return names + b'%b,"parameters":{"prediction_id":%b},"outputs":[' + lines + b"]}"


def _output(name: str, array: Array) -> bytes:
    shape = _json((1, *array.shape[1:]))
    head = b'{"name":%b,"datatype":"%b","shape":%b,"data":[' % (_json(name), datatype_of(array.dtype).encode(), shape)
    return _literal(head) + b"%b]}"


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
