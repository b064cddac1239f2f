"""Stage 4, serve: rows of a V1 request to one array a column, in one pass.

    {"instances": [...]} --typed by the signature--> columns --> arrays
                         `-- does not fit --> None: `penstock.serve.bodyforms` looks at it value by value

This is only quicker: whatever it does not take, the general form takes or refuses. V1 has no datatypes: the
signature's are used.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from types import GenericAlias
from typing import Literal, NamedTuple, Protocol, cast

import msgspec
import numpy as np

from penstock.serve.bodyforms import read_body
from penstock.serve.rowvalues import is_matrix
from penstock.serve.tensordata import ELEMENTS
from penstock.tensors import DTYPES, Array, Arrays, Signature

Value = str | int | float | bool | None
_MOST_FORMS = 256


class _TypedBody(msgspec.Struct):
    """What a typed body holds beside its rows; who sends both names, or means another signature, goes the other way."""

    inputs: msgspec.UnsetType = msgspec.UNSET
    signature_name: Literal["serving_default", ""] = ""


class _Rows(Protocol):
    instances: list[object]


class _Form(NamedTuple):
    """One way of writing rows.

    Attributes:
        decode: Body to its rows.
        columns: Rows to one sequence of values an entry of a row; None where a row is its own values.
    """

    decode: Callable[[bytes], list[object]]
    columns: Callable[[list[object]], list[tuple[Value, ...]]] | None


class _Forms(NamedTuple):
    signature: Signature
    forms: list[_Form]


class Instances:
    """Decodes bodies, and remembers the typed forms of each signature, the one that was used last in front."""

    def __init__(self) -> None:
        self._known: dict[int, _Forms] = {}

    def decode(self, body: bytes, signature: Signature) -> Arrays:
        """One array an input.

        Raises:
            InvalidInput: With the value's path.
        """
        return self.typed(body, signature) or read_body(body, signature)[0]

    def typed(self, body: bytes, signature: Signature) -> Arrays | None:
        """The same in one pass; None where the general form has to look at it."""
        forms = self._forms(signature).forms
        for at, form in enumerate(forms):
            try:
                rows = form.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            if at:
                forms.insert(0, forms.pop(at))
            return _arrays(rows, form, signature)
        return None

    def _forms(self, signature: Signature) -> _Forms:
        """By identity: a signature is the same object for as long as its model is loaded."""
        known = self._known.get(id(signature))
        if known is None or known.signature is not signature:
            if len(self._known) >= _MOST_FORMS:
                self._known.clear()
            known = self._known[id(signature)] = _Forms(signature, _forms_of(signature))
        return known


def _forms_of(signature: Signature) -> list[_Form]:
    first = signature.inputs[0]
    if not is_matrix(signature):
        kinds = [ELEMENTS[spec.datatype] for spec in signature.inputs]
        names = [spec.name for spec in signature.inputs]
        forms = [_objects(names, kinds), _Form(_decoder(GenericAlias(tuple, tuple(kinds))), _transposed)]
        return [*forms, _Form(_decoder(kinds[0]), _alone)] if len(kinds) == 1 else forms
    kind = ELEMENTS[first.datatype]
    if len(first.shape) == 1:
        return [_Form(_decoder(kind), None)]
    if len(first.shape) > 2:
        return [_Form(_decoder(_lists(kind, len(first.shape) - 1)), None)]
    forms = [_Form(_decoder(GenericAlias(list, (kind,))), None)]
    if first.columns and len(first.columns) == first.shape[1]:
        forms.append(_objects(list(first.columns), [kind] * len(first.columns)))
    return forms


def _decoder(row: object) -> Callable[[bytes], list[object]]:
    kind = msgspec.defstruct("Body", [("instances", GenericAlias(list, (row,)))], bases=(_TypedBody,), kw_only=True)
    decode = cast("Callable[[bytes], _Rows]", msgspec.json.Decoder(kind).decode)
    return lambda body: decode(body).instances


def _objects(names: list[str], kinds: list[object]) -> _Form:
    fields = [f"c{index}" for index in range(len(names))]
    row = msgspec.defstruct(
        "Row",
        list(zip(fields, kinds, strict=True)),
        rename=dict(zip(fields, names, strict=True)),
        forbid_unknown_fields=True,
        gc=False,
    )
    getters = [attrgetter(field) for field in fields]
    return _Form(_decoder(row), lambda rows: [tuple(map(get, rows)) for get in getters])


def _transposed(rows: list[object]) -> list[tuple[Value, ...]]:
    return list(zip(*cast("list[tuple[Value, ...]]", rows), strict=True))


def _alone(rows: list[object]) -> list[tuple[Value, ...]]:
    return [cast("tuple[Value, ...]", tuple(rows))]


def _arrays(rows: list[object], form: _Form, signature: Signature) -> Arrays | None:
    if not rows:
        return None
    columns = None if form.columns is None else form.columns(rows)
    try:
        if not is_matrix(signature):
            pairs = zip(signature.inputs, columns or (), strict=True)
            return {spec.name: np.array(column, DTYPES[spec.datatype]).reshape(-1, 1) for spec, column in pairs}
        spec = signature.inputs[0]
        array: Array = np.array(rows if columns is None else columns, DTYPES[spec.datatype])
    except (ValueError, OverflowError):
        return None
    width = spec.shape[1] if len(spec.shape) > 1 else 0
    if array.ndim != len(spec.shape) or (columns is None and width not in (-1, 0) and array.shape[1] != width):
        return None
    return {spec.name: array if columns is None else np.ascontiguousarray(array.T)}


def _lists(kind: object, depth: int) -> object:
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return kind
