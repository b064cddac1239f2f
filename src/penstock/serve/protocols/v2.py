"""Stage 4, serve: the Open Inference Protocol V2 over REST, with the binary tensor extension.

Comes in: a call below ``/v2``. Goes out: a request by the signature's names; then a reply in the form asked for.
Where servers differ, the choice follows what unmodified clients need: the body is JSON when it starts with a
brace, whatever its content type says; an empty index body is one; errors are text under ``error``; raw is
answered with raw. Source: Open Inference Protocol specification, ``inference_rest``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod

import msgspec
import numpy as np

from penstock import __version__
from penstock.errors import Forbidden, InvalidInput, NotReady
from penstock.serve.protocol import Call, Card, Catalogue, Operation, Prediction, Reply, Request, Verb, seconds
from penstock.serve.tensordata import from_json, from_raw, parse, shaped, to_raw
from penstock.tensors import DTYPES, Array, Arrays, Signature, TensorSpec

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "schedule_policy", "statistics")
Parameters = dict[str, str | float | bool | int | list[object] | dict[str, object] | None]


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")
    parameters: Parameters | None = None


class _Wanted(msgspec.Struct):
    name: str
    parameters: Parameters | None = None


class _Body(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[_Wanted] | None = None


class _Output(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[object] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    id: str
    parameters: dict[str, str]
    outputs: list[_Output]


_DATATYPES = {dtype.str: name for name, dtype in DTYPES.items()}
_PLACES = tuple(f"inputs[{index}]" for index in range(100))
_decode_body = msgspec.json.Decoder(_Body).decode
_encode = msgspec.json.Encoder().encode
_PATH = re.compile(r"/v2(?:/(health|models|repository)(?:/([^/]+))?(?:/versions/([^/]+))?(?:/([a-z]+))?)?/?")
_MODEL_VERBS: dict[tuple[str, str], Verb] = {
    ("GET", ""): "model",
    ("GET", "ready"): "model_ready",
    ("POST", "infer"): "predict",
    ("GET", "stats"): "stats",
    ("GET", "config"): "config",
}
_FIXED: dict[tuple[str, str], Verb] = {
    ("GET", "/v2"): "server",
    ("GET", "/v2/health/live"): "live",
    ("GET", "/v2/health/ready"): "ready",
    ("GET", "/v2/models"): "list",
    ("GET", "/v2/models/stats"): "stats",
    ("POST", "/v2/repository/index"): "index",
}
_LOAD = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)")


class V2Protocol:
    """Open Inference Protocol V2, REST."""

    forms = ("v2.json",)

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line below ``/v2`` asks for; HEAD counts as GET."""
        method = "GET" if method == "HEAD" else method
        fixed = _FIXED.get((method, path.rstrip("/")))
        if fixed:
            return Operation(fixed)
        load = _LOAD.fullmatch(path)
        if load and method == "POST":
            return Operation("load" if load[2] == "load" else "unload", load[1])
        found = _PATH.fullmatch(path)
        if found is None or found[1] != "models" or not found[2]:
            return None
        verb = _MODEL_VERBS.get((method, found[4] or ""))
        return Operation(verb, found[2], found[3] or "") if verb else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """JSON, JSON followed by raw tensors, or one raw tensor alone."""
        declared = call.headers.get(b"inference-header-content-length")
        if declared is None:
            return _request(parse(call.body, _decode_body), memoryview(b""), signature)
        try:
            length = int(declared)
        except ValueError:
            length = -1
        if not 0 <= length <= len(call.body):
            raise InvalidInput(
                "the length of the JSON part is not within the body",
                "it is the number of bytes before the first raw tensor",
                where="headers.inference-header-content-length",
            )
        if length == 0:
            return _raw_request(memoryview(call.body), signature)
        return _request(parse(call.body[:length], _decode_body), memoryview(call.body)[length:], signature)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """Outputs as JSON, those asked for as raw bytes behind it."""
        outputs: list[_Output] = []
        tail: list[bytes] = []
        for name, array in prediction.outputs.items():
            if request.wanted and name not in request.wanted:
                continue
            datatype = _DATATYPES[array.dtype.str]
            if name in request.binary:
                tail.append(to_raw(array))
                size = {"binary_data_size": len(tail[-1])}
                outputs.append(_Output(name, datatype, array.shape, parameters=size))
            else:
                outputs.append(
                    _Output(name, datatype, array.shape, (array if array.ndim == 1 else array.ravel()).tolist())
                )
        head = _encode(
            _Answer(
                prediction.endpoint,
                prediction.version,
                request.client_id or prediction.id,
                {"prediction_id": prediction.id},
                outputs,
            )
        )
        if not tail:
            return Reply(200, head)
        length = b"inference-header-content-length: %d\r\n" % len(head)
        return Reply(200, b"".join((head, *tail)), b"application/octet-stream", length)

    def describe(self, operation: Operation, catalogue: Catalogue) -> Reply:
        """Health, metadata, lists, statistics and configuration."""
        if operation.endpoint:
            return _of_model(operation, catalogue.card(operation.endpoint, operation.version))
        status, body = 200, _ANSWERS[operation.verb](catalogue)
        if operation.verb == "ready" and not catalogue.ready:
            status = 503
        return Reply(status, _encode(body))


def _request(body: _Body, raw: memoryview, signature: Signature) -> Request:
    """A request by the signature's names."""
    arrays: Arrays = {}
    for index, tensor in enumerate(body.inputs):
        where = _PLACES[index] if index < len(_PLACES) else f"inputs[{index}]"
        if tensor.datatype not in DTYPES:
            known = ", ".join(DTYPES)
            raise InvalidInput("the protocol has no such datatype", f"there are {known}", where=f"{where}.datatype")
        if tensor.name in arrays:
            raise InvalidInput("an input is given twice", "give each once", where=f"{where}.name")
        size = tensor.parameters.get("binary_data_size") if tensor.parameters else None
        if size is None:
            arrays[tensor.name] = from_json(tensor.data, tensor.datatype, tensor.shape, where=where)
            continue
        if type(size) is not int or not 0 <= size <= len(raw):
            raise InvalidInput(
                "the size is not within the body",
                "it is the tensor's number of bytes",
                where=f"{where}.parameters.binary_data_size",
            )
        arrays[tensor.name] = from_raw(raw[:size], tensor.datatype, tensor.shape, where=where)
        raw = raw[size:]
    if len(raw):
        raise InvalidInput(
            "bytes are left after the last tensor", "declare each tensor's binary_data_size", where="inputs"
        )
    if body.parameters is None and body.outputs is None:
        return Request(arrays, body.id or "")
    hints = body.parameters or {}
    wanted, binary = _outputs(body, signature, everything_raw=hints.get("binary_data_output") is True)
    return Request(arrays, body.id or "", *_hints(hints), wanted, binary)


def _hints(parameters: Parameters) -> tuple[str, float, float]:
    """Routing key, event time, time budget in seconds."""
    if not parameters:
        return "", 0.0, 0.0
    timeout = parameters.get("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 <= timeout < 1e12:
        raise InvalidInput("this is not a number of microseconds", "send a whole number", where="parameters.timeout")
    at = parameters.get("event_time")
    key = parameters.get("routing_key", "")
    if at is not None and (isinstance(at, bool) or not isinstance(at, str | int | float)):
        raise InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where="parameters.event_time")
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidInput("a routing key is text", "send text", where="parameters.routing_key")
    return str(key), 0.0 if at is None else seconds(at, "parameters.event_time"), timeout / 1e6


def _outputs(body: _Body, signature: Signature, *, everything_raw: bool) -> tuple[tuple[str, ...], frozenset[str]]:
    """Which outputs are wanted, and which of them raw."""
    known = [spec.name for spec in signature.outputs]
    if not body.outputs:
        return (), frozenset(known) if everything_raw else frozenset()
    raw: set[str] = set()
    for index, output in enumerate(body.outputs):
        if output.name not in known:
            raise InvalidInput(
                "the model has no such output", f"its outputs are {', '.join(known)}", where=f"outputs[{index}].name"
            )
        parameters = output.parameters or {}
        if "classification" in parameters or "shared_memory_region" in parameters:
            raise InvalidInput(
                "this extension is not spoken here", "GET /v2 lists them", where=f"outputs[{index}].parameters"
            )
        if parameters.get("binary_data", everything_raw) is True:
            raw.add(output.name)
    return tuple(output.name for output in body.outputs), frozenset(raw)


def _raw_request(body: memoryview, signature: Signature) -> Request:
    """A body that is one tensor and nothing else, for a model of one input."""
    outputs = frozenset(spec.name for spec in signature.outputs)
    if len(signature.inputs) != 1:
        raise InvalidInput("the model has more than one input", "send a JSON part that names them", where="inputs")
    spec = signature.inputs[0]
    if spec.datatype == "BYTES":
        values = from_raw(body, "BYTES", _raw_shape(spec, _count_texts(body)), where="inputs[0]")
        return Request({spec.name: values}, binary=outputs)
    size = 1 if spec.datatype == "BOOL" else DTYPES[spec.datatype].itemsize
    array: Array = from_raw(body, spec.datatype, [len(body) // size], where="inputs[0]")
    return Request({spec.name: shaped(array, _raw_shape(spec, array.size), where="inputs[0]")}, binary=outputs)


def _raw_shape(spec: TensorSpec, count: int) -> list[int]:
    """As many rows as the elements fill; a remainder shows as a mismatch later."""
    row = list(spec.shape[1:])
    if -1 in row:
        raise InvalidInput("the model's rows have a free size", "send a JSON part with the shape", where="inputs")
    return [count // max(prod(row), 1), *row]


def _count_texts(body: memoryview) -> int:
    count, at = 0, 0
    while at + 4 <= len(body):
        at += 4 + int(np.frombuffer(body, "<u4", 1, at)[0])
        count += 1
    return count


def _of_model(operation: Operation, card: Card) -> Reply:
    if operation.verb == "model_ready":
        return Reply(200 if card.ready else 503, _encode({"name": card.name, "ready": card.ready}))
    if operation.verb == "unload":
        raise Forbidden("endpoints are not unloaded here", "release another version instead", code="serve.unload")
    if operation.verb == "stats":
        return Reply(200, _encode({"model_stats": [_stats(card)]}))
    if card.signature is None:
        raise NotReady("the endpoint is still loading", "ask again in a moment")
    if operation.verb == "load":
        return Reply(200)
    inputs, outputs = card.signature.inputs, card.signature.outputs
    if operation.verb == "config":
        config = {"name": card.name, "platform": card.platform, "max_batch_size": 0}
        return Reply(200, _encode({**config, "input": _config(inputs), "output": _config(outputs)}))
    metadata = {"name": card.name, "versions": card.versions, "platform": card.platform}
    return Reply(200, _encode({**metadata, "inputs": _tensors(inputs), "outputs": _tensors(outputs)}))


def _tensors(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs]


def _config(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [
        {"name": s.name, "data_type": f"TYPE_{'STRING' if s.datatype == 'BYTES' else s.datatype}", "dims": s.shape}
        for s in specs
    ]


def _index(card: Card) -> list[dict[str, str]]:
    state = "READY" if card.ready else "LOADING"
    return [{"name": card.name, "version": v, "state": state, "reason": ""} for v in card.versions or ("",)]


def _stats(card: Card) -> dict[str, object]:
    answered, failed, total_s = card.counts
    return {
        "name": card.name,
        "version": card.versions[0] if card.versions else "",
        "inference_count": answered,
        "execution_count": answered,
        "inference_stats": {
            "success": {"count": answered, "ns": int(total_s * 1e9)},
            "fail": {"count": failed, "ns": 0},
        },
    }


_ANSWERS: dict[str, Callable[[Catalogue], object]] = {
    "live": lambda _: {"live": True},
    "ready": lambda catalogue: {"ready": catalogue.ready},
    "server": lambda _: {"name": "penstock", "version": __version__, "extensions": EXTENSIONS},
    "stats": lambda catalogue: {"model_stats": [_stats(card) for card in catalogue.cards.values()]},
    "index": lambda catalogue: [line for card in catalogue.cards.values() for line in _index(card)],
    "list": lambda catalogue: {"models": list(catalogue.cards)},
}
