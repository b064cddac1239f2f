"""Stage 4, serve: the Open Inference Protocol V2 over REST, with Triton's extensions that make sense here.

Comes in: a call below ``/v2``. Goes out: a request by the signature's names; then a reply in the form asked for.
Where servers differ, the choice follows what unmodified clients need: the body is JSON when it starts with a
brace, whatever its content type says; an empty index body is one; errors are text under ``error``; raw is
answered with raw. Source: Open Inference Protocol specification, ``inference_rest``.
"""

from __future__ import annotations

import re
from math import prod
from typing import cast

import msgspec
import numpy as np

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.acts import Act, LoadAct, Register, Unload, Unregister
from penstock.serve.calls import Call, Reply
from penstock.serve.cardforms import Form, describe, load_asked, unload_asked
from penstock.serve.cards import Catalogue
from penstock.serve.explanations import aim_in
from penstock.serve.habits import HABITS
from penstock.serve.inferhints import SPAN, unspoken
from penstock.serve.inferrequest import Requests, from_head
from penstock.serve.protocol import (
    ANY_AIM,
    STRICT,
    Aim,
    Explanation,
    Manner,
    Operation,
    Prediction,
    Request,
    ServingProtocol,
    Verb,
)
from penstock.serve.refusals import refuse
from penstock.serve.tensordata import DATATYPES, from_raw, parse, shaped, to_raw, with_tokens
from penstock.tensors import DTYPES, Array, Floats, Signature, TensorSpec


class _Output(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[object] | msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int | str] | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct, gc=False):
    model_name: str
    model_version: str
    id: str | msgspec.UnsetType
    parameters: dict[str, str]
    outputs: list[_Output]


class _RegionBody(msgspec.Struct):
    key: str
    byte_size: int
    offset: int = 0


_decode_region = msgspec.json.Decoder(_RegionBody).decode
_encode = msgspec.json.Encoder().encode
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/([a-z_]+))?/?")
_MODEL_VERBS: dict[tuple[str, str], Verb] = {
    ("GET", ""): "model",
    ("GET", "ready"): "model_ready",
    ("POST", "infer"): "predict",
    ("POST", "explain"): "explain",
    ("POST", "infer_stream"): "stream",
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
    ("GET", "/v2/systemsharedmemory/status"): "regions",
    ("POST", "/v2/systemsharedmemory/unregister"): "unregister",
}
_LOAD = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)")
_REGION = re.compile(r"/v2/systemsharedmemory/region/([^/]+)/(register|unregister|status)")
_UNSPOKEN = re.compile(r"/v2/(?:cudasharedmemory/.*|logging|trace/setting|models/[^/]+/trace/setting)")
_HEALTH = frozenset({"live", "ready", "model_ready"})
_UNSPOKEN_WORDS = {"c": "CUDA shared memory regions", "l": "log settings", "t": "trace settings"}


class V2Protocol(ServingProtocol):
    """Open Inference Protocol V2, REST."""

    forms: tuple[str, ...] = ("v2.json", "v2.raw")

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._habits = HABITS[manner.compat]
        if not self._habits.own_id or self._habits.nan_tokens:
            self.forms = ()
        self._requests = Requests()

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line below ``/v2`` asks for; HEAD counts as GET."""
        method = "GET" if method == "HEAD" else method
        fixed = _FIXED.get((method, path.rstrip("/")))
        if fixed:
            return Operation(fixed)
        found = _MODEL.fullmatch(path)
        if found is not None and found[1] != "stats":
            verb = _MODEL_VERBS.get((method, found[3] or ""))
            return Operation(verb, found[1], found[2] or "") if verb else None
        return _rarely(method, path)

    def decode(self, call: Call, signature: Signature) -> Request:
        """JSON, JSON followed by raw tensors, or one raw tensor alone."""
        declared = call.headers.get(b"inference-header-content-length")
        if declared is None:
            return self._requests.from_json(call.body, signature)
        length = int(declared) if declared.isdigit() and len(declared) < 20 else -1
        if not 0 <= length <= len(call.body):
            raise InvalidInput(
                "the length of the JSON part is not within the body",
                "it is the number of bytes before the first raw tensor",
                where="headers.inference-header-content-length",
            )
        if length == 0:
            return _raw_request(memoryview(call.body), signature)
        return from_head(call.body[:length], memoryview(call.body)[length:], signature)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """Outputs as JSON, those asked for as raw bytes behind it, those in shared memory by their place."""
        outputs: list[_Output] = []
        tail: list[bytes] = []
        for name, array in prediction.outputs.items():
            if request.wanted and name not in request.wanted:
                continue
            output = _Output(name, DATATYPES[array.dtype.str], array.shape)
            if name in request.placed:
                span = request.placed[name]
                output.parameters = dict(zip(SPAN, (span.region, span.offset, span.size), strict=True))
            elif name in request.binary:
                tail.append(to_raw(array))
                output.parameters = {"binary_data_size": len(tail[-1])}
            else:
                output.data = _values(array, nan_tokens=prediction.nan_tokens or self._habits.nan_tokens)
            outputs.append(output)
        own = {"prediction_id": prediction.id}
        own_id = request.client_id or (prediction.id if self._habits.own_id else msgspec.UNSET)
        answer = _Answer(prediction.endpoint, prediction.version, own_id, own, outputs)
        head = _encode(answer)
        if not tail:
            return Reply(200, head)
        length = b"inference-header-content-length: %d\r\n" % len(head)
        return Reply(200, b"".join((head, *tail)), b"application/octet-stream", length)

    def aim(self, call: Call) -> Aim:
        """``output`` and ``class`` of the request's parameters."""
        declared = call.headers.get(b"inference-header-content-length", b"")
        head = call.body[: int(declared)] if declared else call.body
        return aim_in(head) if head else ANY_AIM

    def explain(self, request: Request, explanation: Explanation) -> Reply:
        """Values and their standard errors by row and feature; by row, base, answer and class; the features' names."""
        one = explanation
        tensors: dict[str, Array] = {
            "explanation": one.values,
            "standard_error": one.standard_errors,
            "base": one.base,
            "answer": one.answered,
            "features": np.array(one.features, np.object_),
        }
        if one.labels:
            tensors["class"] = np.array(one.labels, np.object_)
        outputs = [
            _Output(name, DATATYPES[array.dtype.str], array.shape, _values(array, nan_tokens=one.nan_tokens))
            for name, array in tensors.items()
        ]
        own = {"explanation_id": one.id, "output": one.output, "method": one.method}
        own["background_rows"] = str(one.background_rows)
        return Reply(200, _encode(_Answer(one.endpoint, one.version, request.client_id or one.id, own, outputs)))

    def act(self, operation: Operation, call: Call) -> Act | None:
        """Load, unload, register, unregister."""
        if operation.verb == "load":
            load_asked(call.body)
            return LoadAct(operation.endpoint)
        if operation.verb == "unload":
            unload_asked(call.body)
            return Unload(operation.endpoint)
        if operation.verb == "register":
            body = parse(call.body, _decode_region)
            return Register(operation.endpoint, body.key, body.offset, body.byte_size)
        return Unregister(operation.endpoint) if operation.verb == "unregister" else None

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Health, metadata, lists, statistics, configuration, regions; what an act came to."""
        if operation.verb == "unspoken":
            raise unspoken(_UNSPOKEN_WORDS[operation.endpoint])
        habits = self._habits
        verbose = habits.act_body or "verbose" in call.query
        status, body = describe(operation, catalogue, Form(call.body, verbose))
        if operation.verb in _HEALTH and not habits.health_body:
            body = None
        if operation.verb == "model_ready" and status != 200:
            status = habits.unready
        return Reply(status, b"" if body is None else _encode(body))

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """As everywhere; what is malformed as the servers do whose habits are followed."""
        reply = refuse(error, reference)
        if reply.status != 400 or error.code != "input.malformed":
            return reply
        if self._habits.detail:
            body = {"error": str(error), "code": error.code, "detail": [{"msg": str(error), "loc": ["body"]}]}
            return Reply(self._habits.malformed, _encode(body))
        return reply


def _rarely(method: str, path: str) -> Operation | None:
    """What a request line asks for that is no request of a model."""
    load = _LOAD.fullmatch(path)
    if load:
        return Operation("load" if load[2] == "load" else "unload", load[1]) if method == "POST" else None
    region = _REGION.fullmatch(path)
    if region:
        verbs: dict[tuple[str, str], Verb] = {
            ("POST", "register"): "register",
            ("POST", "unregister"): "unregister",
            ("GET", "status"): "regions",
        }
        verb = verbs.get((method, region[2]))
        return Operation(verb, region[1]) if verb else None
    other = _UNSPOKEN.fullmatch(path)
    if other and method in ("GET", "POST"):
        tail = path.removeprefix("/v2/")
        return Operation("unspoken", "t" if tail.endswith("trace/setting") else tail[0])
    return None


def _values(array: Array, *, nan_tokens: bool) -> list[object] | msgspec.Raw:
    """An output's numbers or texts, row-major; what JSON does not have is null, unless tokens are wanted."""
    flat = (array if array.ndim == 1 else array.ravel()).tolist()
    if nan_tokens and array.dtype.kind == "f" and not np.isfinite(cast(Floats, array)).all():
        return msgspec.Raw(with_tokens(flat))
    return cast("list[object]", flat)


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
