"""Ways to spoil a good request's inputs: by name for the cases, at random for the properties.

Comes in: the list of inputs of a good request, as JSON or with typed contents. Goes out: a spoiled copy; None where the
model gives no occasion (a text cannot be put among numbers where there are none).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

Inputs = list[dict[str, object]]
Spoil = Callable[[Inputs], Inputs | None]
WHOLE = ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
REAL = ("FP16", "FP32", "FP64")


def spoil(name: str, inputs: Inputs) -> Inputs | None:
    """A spoiled copy, or None where this cannot be done to these inputs."""
    return SPOILS[name](copy.deepcopy(inputs))


def _without(field: str) -> Spoil:
    def spoiled(inputs: Inputs) -> Inputs | None:
        return inputs if inputs[0].pop(field, None) is not None else None

    return spoiled


def _with(field: str, value: object) -> Spoil:
    def spoiled(inputs: Inputs) -> Inputs | None:
        inputs[0][field] = value
        return inputs

    return spoiled


def _first(datatypes: tuple[str, ...], value: object) -> Spoil:
    """A value in place of the first of the first input of one of these datatypes."""

    def spoiled(inputs: Inputs) -> Inputs | None:
        for tensor in inputs:
            if tensor["datatype"] in datatypes and "data" in tensor:
                tensor["data"] = _replaced(tensor["data"], value)
                return inputs
        return None

    return spoiled


def _replaced(data: object, value: object) -> object:
    if isinstance(data, list) and data:
        return [_replaced(data[0], value), *data[1:]]
    return value


def _longer(inputs: Inputs) -> Inputs:
    values = _values(inputs[0])
    values.append(values[-1])
    return inputs


def _shorter(inputs: Inputs) -> Inputs:
    _values(inputs[0]).pop()
    return inputs


def _values(tensor: dict[str, object]) -> list[object]:
    contents = cast("dict[str, list[object]]", tensor.get("contents", {}))
    return next(iter(contents.values())) if contents else cast("list[object]", tensor["data"])


def _wider(inputs: Inputs) -> Inputs | None:
    """One more element in the last dimension, and the data for it."""
    shape = cast("list[int]", inputs[0]["shape"])
    values = _values(inputs[0])
    if len(shape) < 2 or any(isinstance(one, list) for one in values):
        return None
    more = len(values) // max(shape[-1], 1)
    values += values[:1] * more
    inputs[0]["shape"] = [*shape[:-1], shape[-1] + 1]
    return inputs


def _deeper(inputs: Inputs) -> Inputs:
    """Two more dimensions of one."""
    inputs[0]["shape"] = [*cast("list[int]", inputs[0]["shape"]), 1, 1]
    return inputs


def _other_datatype(inputs: Inputs) -> Inputs:
    """Another datatype, and values of it."""
    tensor = inputs[0]
    datatype, value = ("BOOL", True) if tensor["datatype"] == "BYTES" else ("BYTES", "text")
    count = len(_values(tensor))
    tensor["datatype"] = datatype
    if "contents" in tensor:
        tensor["contents"] = (
            {"bool_contents": [True] * count} if datatype == "BOOL" else {"bytes_contents": ["dGV4dA=="] * count}
        )
    else:
        tensor["data"] = [value] * count
    return inputs


def _missing(inputs: Inputs) -> Inputs | None:
    return inputs[1:] if len(inputs) > 1 else None


def _extra(inputs: Inputs) -> Inputs:
    return [*inputs, {**copy.deepcopy(inputs[0]), "name": "no_input_of_this_model"}]


def _twice(inputs: Inputs) -> Inputs:
    return [*inputs, copy.deepcopy(inputs[0])]


SPOILS: dict[str, Spoil] = {
    "no-name": _without("name"),
    "no-shape": _without("shape"),
    "no-datatype": _without("datatype"),
    "no-data": _without("data"),
    "data-number": _with("data", 5),
    "shape-text": _with("shape", "none"),
    "shape-negative": _with("shape", [-1, -1]),
    "unknown-datatype": _with("datatype", "float32"),
    "other-datatype": _other_datatype,
    "unknown-name": _with("name", "no_input_of_this_model"),
    "missing-input": _missing,
    "extra-input": _extra,
    "input-twice": _twice,
    "longer": _longer,
    "shorter": _shorter,
    "wider": _wider,
    "deeper": _deeper,
    "text-in-number": _first((*WHOLE, *REAL), "seven"),
    "number-in-text": _first(("BYTES",), 7),
    "null": _first(("BOOL", *WHOLE), None),
    "object": _first((*WHOLE, *REAL, "BYTES", "BOOL"), {"value": 1}),
    "list": _first((*WHOLE, *REAL, "BYTES", "BOOL"), [[[[1]]]]),
    "fraction-in-whole": _first(WHOLE, 1.5),
    "too-large": _first(WHOLE, 2**70),
    "bool-in-number": _first((*WHOLE, *REAL), True),
}
"""By name."""
HOPELESS = (
    "no-name", "no-shape", "no-datatype", "no-data", "data-number", "shape-text", "unknown-datatype", "unknown-name",
    "longer", "shorter", "object", "list",
)  # fmt: skip
"""Those that no reading of the specification makes a good request of."""
IN_MESSAGES = ("unknown-datatype", "unknown-name", "longer", "shorter", "other-datatype", "missing-input")
"""Those that can be said in a message of gRPC."""
