"""Stage 4, serve: the KServe V1 REST protocol.

Comes in: ``{"instances": [...]}``, where a row is a list in the signature's order, an object by column, or the
value itself for a model of one column. Goes out: ``{"predictions": [...]}``, one entry a row: the value where the
model has one output, an object by output name where it has several. V1 has no datatypes: the signature's are used.
"""

from __future__ import annotations

import re

import msgspec
import numpy as np

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.protocol import Call, Catalogue, Operation, Prediction, Reply, Request, Verb
from penstock.serve.tensordata import parse
from penstock.tensors import DTYPES, FLOATS, Array, Arrays, Signature, TensorSpec

Value = str | int | float | bool | None
Row = Value | list[Value] | dict[str, Value]


class _Body(msgspec.Struct):
    instances: list[Row]


_decode_body = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode
_PATH = re.compile(r"/v1/models(?:/([^/:]+)(?::([a-z]+))?)?/?")
_VERBS: dict[tuple[str, str], Verb] = {
    ("GET", ""): "model_ready",
    ("POST", "predict"): "predict",
    ("POST", "explain"): "explain",
}


class V1Protocol:
    """KServe V1, REST."""

    forms = ()

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line below ``/v1`` asks for; ``GET /`` says that the server is alive."""
        method = "GET" if method == "HEAD" else method
        if path == "/" and method == "GET":
            return Operation("alive")
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        if not found[1]:
            return Operation("list") if method == "GET" else None
        verb = _VERBS.get((method, found[2] or ""))
        return Operation(verb, found[1]) if verb else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """Rows of any of the three forms to one array a column."""
        rows = parse(call.body, _decode_body).instances
        if len(signature.inputs) == 1 and signature.inputs[0].shape != (-1, 1):
            return Request(_matrix(rows, signature.inputs[0]))
        columns = [spec.name for spec in signature.inputs]
        table = [_row(row, columns, where=f"instances[{i}]") for i, row in enumerate(rows)]
        arrays: Arrays = {}
        for at, spec in enumerate(signature.inputs):
            places = [f"instances[{i}].{spec.name}" for i in range(len(rows))]
            arrays[spec.name] = _column([row[at] for row in table], spec, places).reshape(-1, 1)
        return Request(arrays)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One entry a row."""
        names = list(prediction.outputs)
        columns = [array.tolist() for array in prediction.outputs.values()]
        rows = columns[0] if len(names) == 1 else [dict(zip(names, row, strict=True)) for row in zip(*columns)]  # noqa: B905
        body = {"predictions": rows, "prediction_id": prediction.id, "model_version": prediction.version}
        return Reply(200, _encode(body))

    def describe(self, operation: Operation, catalogue: Catalogue) -> Reply:
        """Life, list and status."""
        if operation.verb == "alive":
            return Reply(200, b'{"status":"alive"}')
        if not operation.endpoint:
            return Reply(200, _encode({"models": list(catalogue.cards)}))
        card = catalogue.card(operation.endpoint)
        if operation.verb == "explain":
            raise PenstockError("the endpoint has no explainer", "use :predict", code="serve.unsupported")
        return Reply(200 if card.ready else 503, _encode({"name": card.name, "ready": card.ready}))


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
