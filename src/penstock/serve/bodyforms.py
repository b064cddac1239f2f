"""Stage 4, serve: the forms in which a prediction's body may give its inputs, value by value.

    {"instances": [row, ...]}          rows
    {"inputs": {name: tensor, ...}}    columns, as TensorFlow Serving has them
    {"inputs": [row, ...]}             both: KServe reads it as instances, TensorFlow Serving as its one tensor

Comes in: a body. Goes out: one array an input, and the form. Source: TensorFlow Serving's ``api_rest``; KServe's V1.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.serve.rowvalues import depth_of, nested_array, nested_decoder, read_rows, within
from penstock.serve.tensordata import parse
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec

Form = Literal["rows", "columns", "both"]
SIGNATURE_NAME = "serving_default"
"""The only signature there is."""
_decode_columns = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Body(msgspec.Struct):
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    signature_name: str | msgspec.UnsetType = msgspec.UNSET


_decode_body = msgspec.json.Decoder(_Body).decode


def read_body(body: bytes, signature: Signature) -> tuple[Arrays, Form]:
    """Any body, value by value, and its form.

    Raises:
        InvalidInput: With the value's path.
    """
    decoded = parse(body, _decode_body)
    if decoded.signature_name not in (msgspec.UNSET, "", SIGNATURE_NAME):
        raise no_such_signature("signature_name")
    rows, inputs = decoded.instances, decoded.inputs
    if isinstance(inputs, msgspec.UnsetType):
        if isinstance(rows, msgspec.UnsetType):
            raise InvalidInput("the rows are missing", "send a list of rows", where="instances")
        return read_rows(rows, signature, "instances"), "rows"
    if not isinstance(rows, msgspec.UnsetType):
        raise InvalidInput("there are both instances and inputs", "send one of them", where="inputs")
    if bytes(inputs).lstrip()[:1] == b"{":
        return _columns(inputs, signature), "columns"
    return read_rows(inputs, signature, "inputs"), "both"


def no_such_signature(where: str) -> InvalidInput:
    """The refusal of another signature than the one that a model has."""
    return InvalidInput("the model has no such signature", f"leave the name out, or send {SIGNATURE_NAME}", where=where)


def _columns(data: msgspec.Raw, signature: Signature) -> Arrays:
    given = within(data, _decode_columns, "inputs")
    specs = {spec.name: spec for spec in signature.inputs}
    arrays: Arrays = {}
    for position, (name, values) in enumerate(given.items()):
        if name not in specs:
            known = ", ".join(specs)
            raise InvalidInput(
                "an input has a name that the model does not know",
                f"the model's inputs are {known}",
                where=f"inputs[{position}]",
            )
        arrays[name] = _column_of(values, specs[name])
    return arrays


def _column_of(data: msgspec.Raw, spec: TensorSpec) -> Array:
    """A column in the nesting that its sender chose; whether that may be is the signature's business."""
    rank = len(spec.shape)
    depth = depth_of(bytes(data))
    if not 0 < rank - 1 <= depth <= rank + 1:
        depth = rank
    where = f"inputs.{spec.name}"
    values = within(data, nested_decoder(spec.datatype, depth), where)
    if not values:
        return np.empty((0, *(max(size, 0) for size in spec.shape[1:])), DTYPES[spec.datatype])
    return nested_array(values, spec.datatype, where)
