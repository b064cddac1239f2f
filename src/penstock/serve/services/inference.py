"""Stage 4, serve: the Open Inference Protocol V2 over gRPC: predictions, health, metadata, repository, statistics.

Comes in: a message of one of the service's methods. Goes out: a request by the signature's names; then a message in
the form that was asked with: raw is answered with raw. What is not a prediction is V2 REST's own answer written as a
message, so that both say the same. Source: Open Inference Protocol specification, ``inference_grpc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
import numpy as np
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from penstock.adapters import load
from penstock.errors import InvalidInput
from penstock.serve.cards import Catalogue
from penstock.serve.protocol import Call, Operation, Prediction, Reply, Request, Verb, seconds
from penstock.serve.protos.messages import message, requests, responses
from penstock.serve.service import CONTENT_TYPE, METHOD, Rpc, Service, timeout_s
from penstock.serve.tensordata import from_raw, shaped, to_raw
from penstock.tensors import DTYPES, Array, Arrays, Signature

NAME = "inference.GRPCInferenceService"
_BASE = f"/{NAME}/"
_REQUESTS = requests(NAME)
_RESPONSES = responses(NAME)
_InferRequest = message("inference.ModelInferRequest")
_InferResponse = message("inference.ModelInferResponse")
_VERBS: dict[str, Verb] = {
    "ModelInfer": "predict",
    "ModelStreamInfer": "predict",
    "ServerLive": "live",
    "ServerReady": "ready",
    "ModelReady": "model_ready",
    "ServerMetadata": "server",
    "ModelMetadata": "model",
    "ModelConfig": "config",
    "ModelStatistics": "stats",
    "RepositoryIndex": "index",
    "RepositoryModelLoad": "load",
    "RepositoryModelUnload": "unload",
}
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
_DATATYPES = {dtype.str: name for name, dtype in DTYPES.items()}
_MOST_PATHS = 4096
_NAME_TAG, _VERSION_TAG = 0x0A, 0x12
"""Fields 1 and 2, both texts."""


class _Parameter(Protocol):
    def WhichOneof(self, group: str) -> str | None: ...


class _Tensor(Protocol):
    name: str
    datatype: str
    shape: Iterable[int]
    contents: object

    def HasField(self, name: str) -> bool: ...


class _Wanted(Protocol):
    name: str


class InferenceService(Service):
    """``inference.GRPCInferenceService``."""

    def __init__(self) -> None:
        self._rest = load("protocol", "v2")()
        self._paths: dict[tuple[str, bytes], str] = {}
        self.rpcs: Mapping[str, Rpc] = {_BASE + method: self._rpc(method) for method in _VERBS}

    def _rpc(self, method: str) -> Rpc:
        if method == "ModelInfer":
            return Rpc(lambda body: self._infer_path(method, body))
        if method == "ModelStreamInfer":
            return Rpc(lambda body: self._infer_path(method, body), "each", _in_stream)
        return Rpc(lambda body: _path(method, *_names(_REQUESTS[method], body)))

    def match(self, method: str, path: str) -> Operation | None:
        """What one of our own paths asks for."""
        if method != METHOD or not path.startswith(_BASE):
            return None
        parts = path[len(_BASE) :].split("\n")
        verb = _VERBS.get(parts[0])
        return Operation(verb, parts[1], parts[2]) if verb and len(parts) == 3 else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """A ModelInferRequest: raw tensors in the inputs' order, or contents in each."""
        try:
            body = _InferRequest.FromString(call.body)
        except DecodeError:
            raise InvalidInput("this is no ModelInferRequest", "see the .proto", code="input.malformed") from None
        if not call.path.endswith(f"\n{body.model_name}\n{body.model_version}"):
            raise InvalidInput("the model is named twice", "name it once, before everything else", where="model_name")
        raw = body.raw_input_contents
        if raw and len(raw) != len(body.inputs):
            raise InvalidInput(
                "the number of raw tensors is not that of the inputs", "send one for each", where="raw_input_contents"
            )
        arrays: Arrays = {}
        for index, tensor in enumerate(body.inputs):
            where = f"inputs[{index}]"
            if tensor.name in arrays:
                raise InvalidInput("an input is given twice", "give each once", where=f"{where}.name")
            arrays[tensor.name] = _raw(tensor, raw[index], where) if raw else _contents(tensor, where)
        wanted, binary = _outputs(body.outputs, signature, raw=bool(raw))
        key, event_time, budget_s = _hints(body.parameters) if body.parameters else ("", 0.0, 0.0)
        if b"grpc-timeout" in call.headers:
            given_s = timeout_s(call.headers[b"grpc-timeout"])
            budget_s = min(budget_s, given_s) if budget_s else given_s
        return Request(arrays, body.id, key, event_time, budget_s, wanted, binary)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """A ModelInferResponse, raw where the request was."""
        outputs = {k: v for k, v in prediction.outputs.items() if not request.wanted or k in request.wanted}
        answer = _InferResponse(
            model_name=prediction.endpoint,
            model_version=prediction.version,
            id=request.client_id or prediction.id,
        )
        answer.parameters["prediction_id"].string_param = prediction.id
        raw = bool(request.binary) or any(array.dtype == np.float16 for array in outputs.values())
        for name, array in outputs.items():
            datatype = _DATATYPES[array.dtype.str]
            tensor = answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                answer.raw_output_contents.append(to_raw(array))
            elif datatype == "BYTES":
                tensor.contents.bytes_contents.extend([str(text).encode() for text in array.ravel().tolist()])
            else:
                getattr(tensor.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
        return Reply(0, answer.SerializeToString(), CONTENT_TYPE)

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """V2 REST's answer as the message of the same method."""
        method = call.path[len(_BASE) :].partition("\n")[0]
        said = self._rest.describe(operation, catalogue, call)
        found = msgspec.json.decode(said.body) if said.body else {}
        if operation.verb == "index":
            found = {"models": found}
        elif operation.verb == "config":
            found = {"config": found}
        elif operation.verb in ("load", "unload"):
            found = {"model_name": operation.endpoint, f"is{operation.verb.title()}ed": True}
        answer = ParseDict(found, _RESPONSES[method](), ignore_unknown_fields=True)
        return Reply(0, answer.SerializeToString(), CONTENT_TYPE)

    def _infer_path(self, method: str, body: bytes) -> str:
        """The path of a prediction; the model's name and version come first in every client's message."""
        end = _text_end(body, 0, _NAME_TAG)
        if end:
            end = _text_end(body, end, _VERSION_TAG) or end
            known = self._paths.get((method, body[:end]))
            if known is not None:
                return known
        # By the same bytes that are remembered: what another name further on says is for `decode` to refuse.
        path = _path(method, *_names(_InferRequest, body[:end] if end else body))
        if end and len(self._paths) < _MOST_PATHS:
            self._paths[method, body[:end]] = path
        return path


def _text_end(body: bytes, at: int, tag: int) -> int:
    """Where a short text field ends; 0 where there is another one."""
    if len(body) < at + 2 or body[at] != tag or body[at + 1] > 127:
        return 0
    return at + 2 + body[at + 1]


def _path(method: str, name: str, version: str) -> str:
    return f"{_BASE}{method}\n{name}\n{version}"


def _names(kind: type, body: bytes) -> tuple[str, str]:
    """Endpoint and version in a request; empty where it names none, or cannot be read: its decoder says so."""
    try:
        asked = kind.FromString(body)
    except DecodeError:
        return "", ""
    fields = asked.DESCRIPTOR.fields_by_name
    if "repository_name" in fields:
        return ("", "") if "model_name" not in fields else (asked.model_name or asked.repository_name, "")
    if "model_name" in fields:
        return asked.model_name, asked.model_version
    return (asked.name, asked.version) if "name" in fields else ("", "")


def _in_stream(reply: Reply) -> bytes:
    """A response of ModelStreamInfer: the prediction, or the text of an error; the stream goes on."""
    tag = b"\x0a" if reply.status else b"\x12"
    size, length = len(reply.body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return b"".join((tag, length, reply.body))


def _raw(tensor: _Tensor, data: bytes, where: str) -> Array:
    _check_datatype(tensor.datatype, where)
    if tensor.HasField("contents"):
        raise InvalidInput("the tensor is given twice", "send contents or raw bytes", where=f"{where}.contents")
    return from_raw(memoryview(data), tensor.datatype, list(tensor.shape), where=where)


def _contents(tensor: _Tensor, where: str) -> Array:
    _check_datatype(tensor.datatype, where)
    if tensor.datatype not in _CONTENTS:
        raise InvalidInput(
            f"{tensor.datatype} has no contents", "send it in raw_input_contents", where=f"{where}.datatype"
        )
    values = list(getattr(tensor.contents, _CONTENTS[tensor.datatype]))
    if tensor.datatype == "BYTES":
        return shaped(_texts(values, where), list(tensor.shape), where=where)
    dtype = DTYPES[tensor.datatype]
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise InvalidInput(
                f"the values do not fit {tensor.datatype}", "send numbers in range", where=f"{where}.contents"
            )
    return shaped(np.array(values, dtype), list(tensor.shape), where=where)


def _texts(values: list[bytes], where: str) -> Array:
    found = np.empty(len(values), object)
    try:
        found[:] = [text.decode() for text in values]
    except UnicodeDecodeError:
        raise InvalidInput("a text is not UTF-8", "send UTF-8", where=f"{where}.contents") from None
    return found


def _check_datatype(datatype: str, where: str) -> None:
    if datatype not in DTYPES:
        known = ", ".join(DTYPES)
        raise InvalidInput("the protocol has no such datatype", f"there are {known}", where=f"{where}.datatype")


def _outputs(asked: Iterable[_Wanted], signature: Signature, *, raw: bool) -> tuple[tuple[str, ...], frozenset[str]]:
    """Which outputs are wanted, and which of them raw: all, where the inputs were."""
    known = [spec.name for spec in signature.outputs]
    wanted = tuple(output.name for output in asked)
    for index, name in enumerate(wanted):
        if name not in known:
            raise InvalidInput(
                "the model has no such output", f"its outputs are {', '.join(known)}", where=f"outputs[{index}].name"
            )
    return wanted, frozenset(known) if raw else frozenset()


def _hints(parameters: Mapping[str, _Parameter]) -> tuple[str, float, float]:
    """Routing key, event time, time budget in seconds."""
    said = {
        name: getattr(one, one.WhichOneof("parameter_choice") or "string_param") for name, one in parameters.items()
    }
    timeout = said.get("timeout", 0)
    if isinstance(timeout, bool | str) or not 0 <= timeout < 1e12:
        raise InvalidInput("this is not a number of microseconds", "send a whole number", where="parameters.timeout")
    at, key = said.get("event_time"), said.get("routing_key", "")
    if isinstance(at, bool):
        raise InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where="parameters.event_time")
    if isinstance(key, bool | float):
        raise InvalidInput("a routing key is text", "send text", where="parameters.routing_key")
    return str(key), 0.0 if at is None else seconds(at, "parameters.event_time"), timeout / 1e6
