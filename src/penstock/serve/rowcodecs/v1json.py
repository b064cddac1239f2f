"""Stage 4, serve: the usual request of KServe V1: one instance, a list in the signature's order or an object by column.

Comes in: a body. Goes out: the dialect's answer. What the typed decoder does not take, the protocol refuses or answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import GenericAlias, UnionType
from typing import cast

import msgspec

from penstock.serve.cloudevents import is_event
from penstock.serve.rowcodec import NOTHING_SAID, Bodies, Row, RowCodec, RunAnswers, Said
from penstock.serve.rowvalues import is_base64
from penstock.serve.stacking import Stacking, Value, element_of, stacking_of, width_of
from penstock.tensors import Array, Arrays, Signature, json_rows

_json = msgspec.json.Encoder().encode
_HEADERS = b"content-type: application/json\r\n"


class _Request(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """V1 has no ids, keys or times in a body."""

    instances: tuple[tuple[Value, ...] | msgspec.Struct]


class V1JsonRows:
    """Usual requests for one signature."""

    @staticmethod
    def fit(signature: Signature, headers: Mapping[bytes, bytes]) -> RowCodec | None:
        """See `RowCodecType.fit`."""
        return None if is_event(headers) else _codec(signature)

    def __init__(self, stacking: Stacking, decode: Callable[[bytes], Row], *, matrix: bool) -> None:
        self.decode = decode
        self._stacking = stacking
        self._matrix = matrix
        self._templates: dict[tuple[object, ...], bytes] = {}

    def said(self, rows: Sequence[Row]) -> Said:
        """See `RowCodec.said`."""
        del rows
        return NOTHING_SAID

    def stack(self, rows: Sequence[Row]) -> Arrays:
        """See `RowCodec.stack`."""
        instances = [_values(cast("_Request", row).instances[0]) for row in rows]
        if self._matrix:
            return self._stacking.stack_rows(instances)
        return self._stacking.stack(list(zip(*instances, strict=True)), len(rows))

    def encode(self, answers: RunAnswers) -> Bodies:
        """See `RowCodec.encode`."""
        outputs = answers.outputs
        shape = (answers.version, *[(name, array.ndim) for name, array in outputs.items()])
        template = self._templates.get(shape)
        if template is None:
            template = self._templates[shape] = _template(answers.version, outputs)
        ids = [own.encode() for own in answers.ids]
        columns = [json_rows(array) for array in outputs.values()]
        contents = [template % line for line in zip(*columns, ids, strict=True)]
        return Bodies([_HEADERS] * len(contents), contents)


@lru_cache(64)
def _codec(signature: Signature) -> RowCodec | None:
    stacking = stacking_of(signature)
    if stacking is None or any(len(spec.shape) > 2 or is_base64(spec) for spec in signature.outputs):
        return None
    first = signature.inputs[0]
    matrix = len(signature.inputs) == 1 and first.shape != (-1, 1)
    elements = (element_of(first),) * width_of(first) if matrix else tuple(element_of(s) for s in signature.inputs)
    names = first.columns if matrix else signature.input_names()
    forms: UnionType | GenericAlias = GenericAlias(tuple, elements)
    if len(names) == len(elements):
        forms = forms | _object(names, elements)
    fields = [("instances", GenericAlias(tuple, (forms,)))]
    request = msgspec.defstruct("Request", fields, bases=(_Request,), gc=False, forbid_unknown_fields=True)
    decode = cast("Callable[[bytes], Row]", msgspec.json.Decoder(request).decode)
    return V1JsonRows(stacking, decode, matrix=matrix)


def _object(names: Sequence[str], elements: Sequence[object]) -> type:
    """An instance as an object; a column's name need not be a Python one."""
    places = [f"c{index}" for index in range(len(names))]
    fields = list(zip(places, elements, strict=True))
    renamed = dict(zip(places, names, strict=True))
    return msgspec.defstruct("Instance", fields, rename=renamed, gc=False, forbid_unknown_fields=True)


def _values(instance: tuple[Value, ...] | msgspec.Struct) -> tuple[Value, ...]:
    return instance if isinstance(instance, tuple) else msgspec.structs.astuple(instance)


def _template(version: str, outputs: Arrays) -> bytes:
    """An answer with places for each output's values and our id."""
    if len(outputs) == 1:
        row = _place(next(iter(outputs.values())))
    else:
        row = b"{%b}" % b",".join(_literal(_json(name)) + b":" + _place(array) for name, array in outputs.items())
    return b'{"predictions":[' + row + b'],"prediction_id":"%b","model_version":' + _literal(_json(version)) + b"}"


def _place(array: Array) -> bytes:
    return b"%b" if array.ndim == 1 else b"[%b]"


def _literal(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
