"""Inference answers of all forms as one: who answered, and arrays by output name.

Comes in: `Heard` of REST (JSON, or JSON with raw bytes behind it) or of gRPC. Goes out: an `Inference`. What is not of
the protocol's form raises `Misformed`, with what it is.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from penstock.conformance.model import ModelUnderTest
from penstock.conformance.tensorforms import CONTENTS, Misformed, read_raw, read_values
from penstock.conformance.transport import Heard
from penstock.tensors import DTYPES, Array, Arrays

LENGTH = "inference-header-content-length"


class Inference(NamedTuple):
    """One answer.

    Attributes:
        outputs: In the answer's order.
        binary: Names of those that came as raw bytes.
        id: Empty where there is none.
        model: Name of the model as the answer says it.
        version: The same of its version.
    """

    outputs: Arrays
    binary: frozenset[str]
    id: str
    model: str
    version: str


def read_inference(heard: Heard, model: ModelUnderTest) -> Inference:
    """The answer behind what came.

    Raises:
        Misformed: It is none.
    """
    head, raw = _parts(heard)
    outputs: Arrays = {}
    binary: set[str] = set()
    at = 0
    said = head.get("outputs")
    if not isinstance(said, list):
        raise Misformed("there is no list of outputs")
    raws = _raws(head)
    for index, one in enumerate(said):
        name, datatype, shape = _named(one, model)
        size = _size(one)
        if raws:
            if index >= len(raws):
                raise Misformed("there are fewer raw_output_contents than outputs")
            outputs[name] = read_raw(name, datatype, shape, raws[index])
            binary.add(name)
        elif size is not None:
            outputs[name] = read_raw(name, datatype, shape, raw[at : at + size])
            binary.add(name)
            at += size
        else:
            outputs[name] = read_values(name, datatype, shape, _data(one, datatype, grpc=bool(heard.code)))
        _fits(name, outputs[name], model)
    if at != len(raw):
        raise Misformed(f"{len(raw) - at} bytes are left after the last tensor")
    texts = [head.get(field) for field in ("id", "model_name", "model_version")]
    if any(text is not None and not isinstance(text, str) for text in texts):
        raise Misformed("id, model_name and model_version are texts")
    return Inference(outputs, frozenset(binary), *(str(text or "") for text in texts))


def difference(one: Mapping[str, Array], other: Mapping[str, Array]) -> str:
    """Where two answers are not the same; empty where they are. Floats may differ in their last digits."""
    for name, array in one.items():
        if name not in other:
            continue
        against = other[name]
        if array.shape != against.shape:
            return f"output {name} has the shape {list(array.shape)} here and {list(against.shape)} there"
        if array.dtype.kind == "f":
            close = np.isclose(array.astype(float), against.astype(float), rtol=1e-4, atol=1e-5, equal_nan=True)
        else:
            close = array == against
        if not np.all(close):
            place = tuple(int(index) for index in np.argwhere(~np.atleast_1d(close))[0])
            return f"output {name} differs at {list(place)}"
    return ""


def _parts(heard: Heard) -> tuple[Mapping[str, object], bytes]:
    """The JSON object, and the bytes behind it."""
    body, raw = heard.body, b""
    if not heard.code and LENGTH in heard.headers:
        length = heard.headers[LENGTH]
        if not length.isdigit() or int(length) > len(body):
            raise Misformed("Inference-Header-Content-Length is not within the body")
        body, raw = body[: int(length)], body[int(length) :]
    try:
        head = heard.message if heard.code else msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Misformed("the body is not JSON") from None
    if not isinstance(head, Mapping):
        raise Misformed("the body is no JSON object")
    return head, raw


def _named(one: object, model: ModelUnderTest) -> tuple[str, str, list[int]]:
    if not isinstance(one, Mapping):
        raise Misformed("an output is no object")
    name, datatype, shape = one.get("name"), one.get("datatype"), one.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        raise Misformed("an output lacks name, datatype or shape")
    if datatype not in DTYPES:
        raise Misformed(f"output {name} has the datatype {datatype}, which the protocol does not have")
    known = {spec.name: spec for spec in model.outputs}
    if known and name not in known:
        raise Misformed(f"there is an output {name}, which the metadata do not have")
    if known and known[name].datatype != datatype:
        raise Misformed(f"output {name} is {datatype}, and {known[name].datatype} by the metadata")
    sizes = [int(size) if str(size).isdigit() else -1 for size in shape]
    if min(sizes, default=0) < 0:
        raise Misformed(f"output {name} has a shape of something else than whole numbers")
    return name, datatype, sizes


def _fits(name: str, array: Array, model: ModelUnderTest) -> None:
    for spec in model.outputs:
        if spec.name == name:
            alike = len(spec.shape) == array.ndim
            if not alike or any(a not in (-1, b) for a, b in zip(spec.shape, array.shape, strict=True)):
                raise Misformed(
                    f"output {name} has the shape {list(array.shape)}, and {list(spec.shape)} by the metadata"
                )


def _size(one: Mapping[str, object]) -> int | None:
    parameters = one.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    return size if isinstance(size, int) else None


def _raws(head: Mapping[str, object]) -> list[bytes]:
    said = head.get("raw_output_contents")
    return [base64.b64decode(str(one)) for one in said] if isinstance(said, list) else []


def _data(one: Mapping[str, object], datatype: str, *, grpc: bool) -> object:
    if not grpc:
        return one.get("data")
    contents = one.get("contents")
    if datatype not in CONTENTS:
        raise Misformed(f"{datatype} has no typed contents")
    values = contents.get(CONTENTS[datatype]) if isinstance(contents, Mapping) else None
    if datatype == "BYTES" and isinstance(values, list):
        return [base64.b64decode(str(value)).decode("utf-8", "replace") for value in values]
    return values
