"""Stage 4, serve: rows of a V1 request to one array a column.

    {"instances": [...]} --typed by the signature, in one pass--> columns --> arrays
                         `-- does not fit --> any rows, value by value --> arrays, or the error with its path

A row is a list in the signature's order, an object by column, or the value itself for a model of one column. V1 has
no datatypes: the signature's are used. KServe takes ``inputs`` for ``instances``, and so does this. The typed form is
only quicker: whatever it does not take, the general one takes or refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import GenericAlias
from typing import NamedTuple, cast

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.tensordata import ELEMENTS, parse
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

Value = str | int | float | bool | None
Row = Value | list[Value] | dict[str, Value]
_MOST_FORMS = 256


class _AnyBody(msgspec.Struct):
    instances: list[Row] | msgspec.UnsetType = msgspec.UNSET
    inputs: list[Row] | msgspec.UnsetType = msgspec.UNSET


class _TypedBody(msgspec.Struct):
    """What a typed body holds beside its rows; who sends both names goes the general way."""

    inputs: msgspec.UnsetType = msgspec.UNSET


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


_decode_any = msgspec.json.Decoder(_AnyBody).decode


class Instances:
    """Decodes bodies, and remembers the typed forms of each signature, the one that was used last in front."""

    def __init__(self) -> None:
        self._known: dict[int, _Forms] = {}

    def decode(self, body: bytes, signature: Signature) -> Arrays:
        """One array an input.

        Raises:
            InvalidInput: With the value's path.
        """
        return self.typed(body, signature) or general(body, signature)

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


def is_matrix(signature: Signature) -> bool:
    """Whether all of a row goes into one input."""
    return len(signature.inputs) == 1 and signature.inputs[0].shape != (-1, 1)


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
    decode = cast("Callable[[bytes], _AnyBody]", msgspec.json.Decoder(kind).decode)
    return lambda body: cast("list[object]", decode(body).instances)


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


def general(body: bytes, signature: Signature) -> Arrays:
    """Any rows, value by value.

    Raises:
        InvalidInput: With the value's path.
    """
    if is_matrix(signature) and len(signature.inputs[0].shape) > 2:
        return _tensor(body, signature.inputs[0])
    decoded = parse(body, _decode_any)
    rows = decoded.inputs if decoded.instances is msgspec.UNSET else decoded.instances
    if isinstance(rows, msgspec.UnsetType):
        raise InvalidInput("the rows are missing", "send a list of rows", where="instances")
    if is_matrix(signature):
        return _matrix(rows, signature.inputs[0])
    columns = [spec.name for spec in signature.inputs]
    table = [_row(row, columns, where=f"instances[{i}]") for i, row in enumerate(rows)]
    arrays: Arrays = {}
    for at, spec in enumerate(signature.inputs):
        places = [f"instances[{i}].{spec.name}" for i in range(len(rows))]
        arrays[spec.name] = _column([row[at] for row in table], spec, places).reshape(-1, 1)
    return arrays


def _lists(kind: object, depth: int) -> object:
    for _ in range(depth):
        kind = GenericAlias(list, (kind,))
    return kind


@cache
def _tensor_decoder(datatype: str, rank: int) -> Callable[[bytes], _AnyBody]:
    rows = cast("type[object]", _lists(ELEMENTS[datatype], rank)) | msgspec.UnsetType
    fields = [(name, rows, msgspec.UNSET) for name in ("instances", "inputs")]
    return cast("Callable[[bytes], _AnyBody]", msgspec.json.Decoder(msgspec.defstruct("Tensors", fields)).decode)


def _tensor(body: bytes, spec: TensorSpec) -> Arrays:
    """All rows, each nested as deep as the model's, as its one input."""
    decoded = parse(body, _tensor_decoder(spec.datatype, len(spec.shape)))
    rows = decoded.inputs if decoded.instances is msgspec.UNSET else decoded.instances
    if isinstance(rows, msgspec.UnsetType):
        raise InvalidInput("the rows are missing", "send a list of rows", where="instances")
    try:
        array: Array = np.array(rows, DTYPES[spec.datatype])
    except (ValueError, OverflowError):
        raise InvalidInput("the rows differ in shape, or a value is out of range", where="instances") from None
    if array.ndim != len(spec.shape):
        raise InvalidInput(
            f"the rows have the shape {list(array.shape[1:])} and the model wants {list(spec.shape[1:])}",
            "nest each row as deep as the model's",
            where="instances",
        )
    return {spec.name: array}


def _row(row: Row, columns: list[str], *, where: str) -> list[Value]:
    """One row's values in the signature's order."""
    if isinstance(row, dict):
        for position, name in enumerate(row):
            if name not in columns:
                known = ", ".join(columns)
                raise InvalidInput(
                    "the row has a name that the model does not know",
                    f"the model's inputs are {known}",
                    where=f"{where}[{position}]",
                )
        missing = [name for name in columns if name not in row]
        if missing:
            raise InvalidInput("the value is missing", "send every input", where=f"{where}.{missing[0]}")
        return [row[name] for name in columns]
    values = row if isinstance(row, list) else [row]
    if len(values) != len(columns):
        raise InvalidInput(f"the row has {len(values)} values and the model wants {len(columns)}", where=where)
    return values


def _matrix(rows: list[Row], spec: TensorSpec) -> Arrays:
    """All rows as the one matrix of the model."""
    width = spec.shape[-1] if len(spec.shape) > 1 else 1
    names = list(spec.columns) or [str(i) for i in range(max(width, 0))]
    if width == -1 and rows and isinstance(rows[0], list):
        names = [str(i) for i in range(len(rows[0]))]
    table = [_row(row, names, where=f"instances[{i}]") for i, row in enumerate(rows)]
    flat = [value for row in table for value in row]
    places = [f"instances[{i}][{j}]" for i in range(len(rows)) for j in range(len(names))]
    return {spec.name: _column(flat, spec, places).reshape(len(rows), *([len(names)] if len(spec.shape) > 1 else []))}


def _column(values: list[Value], spec: TensorSpec, places: list[str]) -> Array:
    """Values of one input as its array; a whole number is a float, nothing else becomes anything else."""
    fits = _fits(spec.datatype)
    for value, place in zip(values, places, strict=True):
        if type(value) not in fits:
            raise InvalidInput(f"the value is not {spec.datatype}", "look at the model's metadata", where=place)
    try:
        return np.array(values, DTYPES[spec.datatype])
    except (ValueError, OverflowError):
        raise InvalidInput(f"a value is out of the range of {spec.datatype}", where=f"instances.{spec.name}") from None


def _fits(datatype: str) -> tuple[type, ...]:
    if datatype in FLOATS:
        return (float, int, type(None))
    if datatype == "BYTES":
        return (str, type(None))
    return (bool,) if datatype == "BOOL" else (int,)
