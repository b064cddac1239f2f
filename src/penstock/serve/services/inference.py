"""Stage 4, serve: the Open Inference Protocol V2 over gRPC: predictions, health, metadata, repository, statistics.

Comes in: a message of one of the service's methods. Goes out: a request by the signature's names, an act, or an
answer. What is not a prediction is V2 REST's own answer written as a message, so that both say the same. Source: Open
Inference Protocol specification, ``inference_grpc``; Triton's extensions.
"""

from __future__ import annotations

import msgspec
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput
from penstock.serve.acts import Act, LoadAct, Register, Unload, Unregister
from penstock.serve.calls import Call, Reply
from penstock.serve.cardforms import Form, describe, load_asked, unload_asked
from penstock.serve.cards import Catalogue
from penstock.serve.inferhints import unspoken
from penstock.serve.infermessage import read_request, write_response
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, Verb
from penstock.serve.protos.messages import Message, requests, responses
from penstock.serve.service import CONTENT_TYPE, METHOD, Rpc, Service, timeout_s
from penstock.tensors import Signature

NAME = "inference.GRPCInferenceService"
_BASE = f"/{NAME}/"
_REQUESTS = requests(NAME)
_RESPONSES = responses(NAME)
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
    "SystemSharedMemoryStatus": "regions",
    "SystemSharedMemoryRegister": "register",
    "SystemSharedMemoryUnregister": "unregister",
    "CudaSharedMemoryStatus": "unspoken",
    "CudaSharedMemoryRegister": "unspoken",
    "CudaSharedMemoryUnregister": "unspoken",
}
_MOST_PATHS = 4096
_NAME_TAG, _VERSION_TAG = 0x0A, 0x12
"""Fields 1 and 2, both texts."""
_json = msgspec.json.Encoder().encode


class InferenceService(Service):
    """``inference.GRPCInferenceService``."""

    forms = ("v2.grpc",)

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._paths: dict[tuple[str, bytes], str] = {}
        self.rpcs = {_BASE + method: self._rpc(method) for method in _VERBS}

    def _rpc(self, method: str) -> Rpc:
        if method == "ModelInfer":
            return Rpc(lambda body: self._infer_path(method, body), begin=_infer_begin)
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
        """A ModelInferRequest: raw tensors in the inputs' order, contents in each, or shared memory."""
        _, name, version = call.path.split("\n")
        request = read_request(call.body, (name, version), signature)
        if b"grpc-timeout" not in call.headers:
            return request
        given_s = timeout_s(call.headers[b"grpc-timeout"])
        return msgspec.structs.replace(request, timeout_s=min(request.timeout_s or given_s, given_s))

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """A ModelInferResponse, raw where the request was."""
        return Reply(0, write_response(request, prediction), CONTENT_TYPE)

    def act(self, operation: Operation, call: Call) -> Act | None:
        """Load, unload, register, unregister."""
        asked = _read(_REQUESTS[_method(call)], call.body)
        if operation.verb == "load":
            load_asked(_json({"parameters": dict.fromkeys(asked.parameters)}))
            return LoadAct(operation.endpoint)
        if operation.verb == "unload":
            given = {name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in asked.parameters.items()}
            unload_asked(_json({"parameters": given}))
            return Unload(operation.endpoint)
        if operation.verb == "register":
            return Register(asked.name, asked.key, asked.offset, asked.byte_size)
        return Unregister(asked.name) if operation.verb == "unregister" else None

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """V2 REST's answer as the message of the same method."""
        method = _method(call)
        if operation.verb == "unspoken":
            raise unspoken("CUDA shared memory regions")
        only_ready = operation.verb == "index" and _read(_REQUESTS[method], call.body).ready
        _, said = describe(operation, catalogue, Form(b'{"ready":true}' if only_ready else b""))
        answer = ParseDict(_named(operation, said), _RESPONSES[method](), ignore_unknown_fields=True)
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
        path = _path(method, *_names(_REQUESTS[method], body[:end] if end else body))
        if end and len(self._paths) < _MOST_PATHS:
            self._paths[method, body[:end]] = path
        return path


def _infer_begin(body: bytes) -> bytes:
    """Name and version, and the tag that shows that they end there; empty where they come otherwise."""
    end = _text_end(body, 0, _NAME_TAG)
    end = _text_end(body, end, _VERSION_TAG) or end
    return body[: end + 1] if 0 < end < len(body) and body[end] not in (_NAME_TAG, _VERSION_TAG) else b""


def _named(operation: Operation, said: object) -> dict[str, object]:
    """REST's JSON as the fields of a message."""
    plain = msgspec.to_builtins(said)
    if operation.verb == "index":
        return {"models": plain}
    if operation.verb == "config":
        return {"config": plain}
    if operation.verb == "regions":
        return {"regions": {one["name"]: one for one in plain}}
    if operation.verb in ("load", "unload"):
        return {"model_name": operation.endpoint, f"is{operation.verb.title()}ed": True}
    return plain if isinstance(plain, dict) else {}


def _method(call: Call) -> str:
    return call.path[len(_BASE) :].partition("\n")[0]


def _text_end(body: bytes, at: int, tag: int) -> int:
    """Where a short text field ends; 0 where there is another one."""
    if len(body) < at + 2 or body[at] != tag or body[at + 1] > 127:
        return 0
    return at + 2 + body[at + 1]


def _path(method: str, name: str, version: str) -> str:
    return f"{_BASE}{method}\n{name}\n{version}"


def _read(kind: Message, body: bytes) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise InvalidInput("the message is not the method's", "see the .proto", code="input.malformed") from None


def _names(kind: Message, body: bytes) -> tuple[str, str]:
    """Endpoint, or region, and version in a request; empty where it cannot be read: its reader says so."""
    try:
        asked = kind.FromString(body)
    except DecodeError:
        return "", ""
    fields = asked.DESCRIPTOR.fields_by_name
    if "repository_name" in fields:
        return (asked.model_name or asked.repository_name if "model_name" in fields else ""), ""
    if "model_name" in fields:
        return asked.model_name, asked.model_version
    return (asked.name if "name" in fields else ""), (asked.version if "version" in fields else "")


def _in_stream(reply: Reply) -> bytes:
    """A response of ModelStreamInfer: the prediction, or the text of an error; the stream goes on."""
    size, length = len(reply.body), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return b"".join((b"\x0a" if reply.status else b"\x12", length, reply.body))
