"""Stage 4, serve: an inference request of the Open Inference Protocol V2 over gRPC, from its message, and the answer.

    ModelInferRequest --raw tensors in the inputs' order, or contents in each, or shared memory--> Request
    Prediction --as the request was: raw or contents--> ModelInferResponse

Source: Open Inference Protocol specification, ``inference_grpc``; Triton's extensions as in REST.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput
from penstock.serve.inferhints import SPAN, Parameters, Rest, Wanted, span_of, with_hints
from penstock.serve.protocol import Prediction, Request, SharedInput
from penstock.serve.protos.messages import message
from penstock.serve.tensordata import BF16, DATATYPES, from_raw, shaped, to_raw
from penstock.tensors import DTYPES, Array, Arrays, Signature

RAW = "\0raw"
"""In a request's `binary`: no output has such a name, so a request without outputs of its own is known as raw."""
_Request = message("inference.ModelInferRequest")
_Response = message("inference.ModelInferResponse")
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_LIMITS = {name: np.iinfo(DTYPES[name].name) for name in _CONTENTS if DTYPES[name].kind in "iu"}


class _Parameter(Protocol):
    def WhichOneof(self, group: str) -> str | None: ...


class _Tensor(Protocol):
    name: str
    datatype: str
    shape: Iterable[int]
    parameters: Mapping[str, _Parameter]
    contents: object

    def HasField(self, name: str) -> bool: ...


def read_request(data: bytes, model: tuple[str, str], signature: Signature) -> Request:
    """A request from a ModelInferRequest.

    Args:
        data: The message.
        model: Name and version that were read before, for which the call was let in.
        signature: The model's.

    Raises:
        InvalidInput: With the field's path and never its value.
    """
    try:
        body = _Request.FromString(data)
    except DecodeError:
        raise InvalidInput("this is no ModelInferRequest", "see the .proto", code="input.malformed") from None
    if (body.model_name, body.model_version) != model:
        raise InvalidInput("the model is named twice", "name it once, before everything else", where="model_name")
    arrays, shared = _inputs(body.inputs, list(body.raw_input_contents))
    raw = not any(tensor.HasField("contents") for tensor in body.inputs)
    outputs = [Wanted(output.name, _values(output.parameters)) for output in body.outputs] if body.outputs else None
    rest = Rest(body.id, _values(body.parameters) if body.parameters else None, outputs)
    request = with_hints(rest, arrays, signature)
    return Request(
        arrays,
        request.client_id,
        request.key,
        request.event_time,
        request.timeout_s,
        request.wanted,
        frozenset((RAW,)) if raw else frozenset(),
        priority=request.priority,
        shared=shared,
        placed=request.placed,
    )


def _inputs(inputs: Iterable[_Tensor], raw: list[bytes]) -> tuple[Arrays, tuple[SharedInput, ...]]:
    """Inputs by name, and those that lie in shared memory."""
    arrays: Arrays = {}
    shared: list[SharedInput] = []
    names: set[str] = set()
    given, at = bool(raw), 0
    for index, tensor in enumerate(inputs):
        where = f"inputs[{index}]"
        _check(tensor, names, where)
        if tensor.parameters and SPAN[0] in tensor.parameters:
            span = span_of(_values(tensor.parameters), f"{where}.parameters")
            shared.append(SharedInput(tensor.name, tensor.datatype, tuple(tensor.shape), span, where))
        elif not given:
            arrays[tensor.name] = _contents(tensor, where)
        elif at == len(raw) or tensor.HasField("contents"):
            raise InvalidInput(
                "raw tensors and inputs do not match", "send contents, or raw bytes for each", where=where
            )
        else:
            arrays[tensor.name] = from_raw(memoryview(raw[at]), tensor.datatype, list(tensor.shape), where=where)
            at += 1
    if at < len(raw):
        raise InvalidInput("there are more raw tensors than inputs", "send one for each", where="raw_input_contents")
    return arrays, tuple(shared)


def _check(tensor: _Tensor, names: set[str], where: str) -> None:
    if tensor.datatype not in DTYPES and tensor.datatype != BF16:
        known = ", ".join((*DTYPES, BF16))
        raise InvalidInput("the protocol has no such datatype", f"there are {known}", where=f"{where}.datatype")
    if tensor.name in names:
        raise InvalidInput("an input is given twice", "give each once", where=f"{where}.name")
    names.add(tensor.name)


def _contents(tensor: _Tensor, where: str) -> Array:
    """An array from typed contents."""
    datatype = tensor.datatype
    if datatype not in _CONTENTS:
        raise InvalidInput(f"{datatype} has no contents", "send it in raw_input_contents", where=f"{where}.datatype")
    values = list(getattr(tensor.contents, _CONTENTS[datatype]))
    if datatype == "BYTES":
        return shaped(_texts(values, where), list(tensor.shape), where=where)
    limits = _LIMITS.get(datatype)
    if limits is not None and values and not limits.min <= min(values) <= max(values) <= limits.max:
        raise InvalidInput(f"the values do not fit {datatype}", "send numbers in range", where=f"{where}.contents")
    array: Array = np.array(values, DTYPES[datatype])
    return shaped(array, list(tensor.shape), where=where)


def _texts(values: list[bytes], where: str) -> Array:
    found = np.empty(len(values), object)
    try:
        found[:] = [text.decode() for text in values]
    except UnicodeDecodeError:
        raise InvalidInput("a text is not UTF-8", "send UTF-8", where=f"{where}.contents") from None
    return found


def _values(parameters: Mapping[str, _Parameter]) -> Parameters:
    """Parameters as REST has them."""
    found: Parameters = {}
    for name, one in parameters.items():
        kind = one.WhichOneof("parameter_choice")
        found[name] = getattr(one, kind) if kind else None
    return found


def write_response(request: Request, prediction: Prediction) -> bytes:
    """A ModelInferResponse: raw where the request was, and where a datatype has no contents."""
    outputs = {k: v for k, v in prediction.outputs.items() if not request.wanted or k in request.wanted}
    answer = _Response(
        model_name=prediction.endpoint, model_version=prediction.version, id=request.client_id or prediction.id
    )
    answer.parameters["prediction_id"].string_param = prediction.id
    raw = RAW in request.binary or any(DATATYPES[array.dtype.str] not in _CONTENTS for array in outputs.values())
    for name, array in outputs.items():
        datatype = DATATYPES[array.dtype.str]
        tensor = answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
        span = request.placed.get(name)
        if span is not None:
            tensor.parameters[SPAN[0]].string_param = span.region
            tensor.parameters[SPAN[1]].int64_param = span.offset
            tensor.parameters[SPAN[2]].int64_param = span.size
        if raw:
            # A place for each output: clients count them.
            answer.raw_output_contents.append(b"" if span else to_raw(array))
        elif span is None:
            values = array.ravel().tolist()
            if datatype == "BYTES":
                values = [str(text).encode() for text in values]
            getattr(tensor.contents, _CONTENTS[datatype]).extend(values)
    made: bytes = answer.SerializeToString()
    return made
