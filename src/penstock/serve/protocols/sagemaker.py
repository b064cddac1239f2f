"""Stage 4, serve: Amazon SageMaker's hosting contract, multi-model mode and batch transform.

Comes in: ``POST /invocations``: what MLflow's dialect takes, a bare list of rows, or a request of the V2 protocol, as
SageMaker's Triton container takes it. Goes out: the same form, or what ``Accept`` asks for. With
``SAGEMAKER_MULTI_MODEL=true`` models are loaded and unloaded below ``/models``. Sources: "Use your own inference code
with hosting services"; "Build your own container for multi-model endpoints"; Triton's SageMaker front end.
"""

from __future__ import annotations

import re

import msgspec

from penstock.errors import InvalidInput, PenstockError
from penstock.runtime.processors import default_workers
from penstock.serve import invocations
from penstock.serve.acts import Act, Dismiss, Enlist
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Card, Catalogue
from penstock.serve.mediatypes import JSON, media_type
from penstock.serve.platforms import is_multi_model
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, ServingProtocol, Verb
from penstock.serve.rowvalues import read_rows
from penstock.serve.tensordata import parse
from penstock.serve.v2within import V2Within, is_v2
from penstock.tensors import Arrays, Signature


class _ModelBody(msgspec.Struct):
    model_name: str
    url: str


_decode_model = msgspec.json.Decoder(_ModelBody).decode
_encode = msgspec.json.Encoder().encode
_TRITON = "application/vnd.sagemaker-triton.binary+json"
_PREFIX = b"x-amzn-sagemaker-"
_FIXED: dict[tuple[str, str], Verb] = {
    ("GET", "/ping"): "ready",
    ("POST", "/invocations"): "predict",
    ("GET", "/execution-parameters"): "server",
}
_MODELS = re.compile(r"/models(?:/([^/]+)(/invoke)?)?")
_MODEL_VERBS: dict[tuple[str, str], Verb] = {
    ("POST", "models"): "enlist",
    ("GET", "models"): "list",
    ("GET", "model"): "model",
    ("DELETE", "model"): "dismiss",
    ("POST", "invoke"): "predict",
}


class SagemakerProtocol(ServingProtocol):
    """SageMaker, as its containers are asked."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        said = manner.environment
        self._many = is_multi_model(said)
        self._usual = said.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
        self._v2 = V2Within(manner, _TRITON)

    def match(self, method: str, path: str) -> Operation | None:
        """Its fixed paths, and those of models where it loads them itself."""
        method = "GET" if method == "HEAD" else method
        fixed = _FIXED.get((method, path))
        if fixed:
            return Operation(fixed)
        found = _MODELS.fullmatch(path) if self._many else None
        if found is None:
            return None
        verb = _MODEL_VERBS.get((method, "invoke" if found[2] else "model" if found[1] else "models"))
        return Operation(verb, found[1] or "") if verb else None

    def named(self, call: Call) -> str:
        """The endpoint that the caller targets."""
        return _header(call, b"target-model")

    def decode(self, call: Call, signature: Signature) -> Request:
        """A body of any of the types."""
        if _header(call, b"session-id") == "NEW_SESSION":
            raise PenstockError("sessions are not spoken here", "leave them out", code="serve.unsupported")
        kind = media_type(call.headers.get(b"content-type", b""))
        if kind.name == _TRITON or (kind.name in (JSON, "application/octet-stream") and is_v2(call.body)):
            request = self._v2.decode(call, kind, signature, _echo(call))
        else:
            accept = invocations.accept_of(call.headers.get(b"accept", b""), self._usual)
            if kind.name == JSON and call.body.lstrip()[:1] == b"[":
                request = Request(_bare_rows(call.body, signature))
            else:
                request = invocations.read(call.body, kind, signature)
            request = msgspec.structs.replace(request, form=invocations.AcceptForm(accept, _echo(call)))
        return msgspec.structs.replace(request, client_id=request.client_id or _header(call, b"inference-id"))

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """In the form of the request."""
        reply = self._v2.encode(request, prediction)
        return reply or invocations.answer(request, prediction)

    def act(self, operation: Operation, call: Call) -> Act | None:
        """Load and unload."""
        if operation.verb == "enlist":
            body = parse(call.body, _decode_model)
            return Enlist(body.model_name, body.url)
        return Dismiss(operation.endpoint) if operation.verb == "dismiss" else None

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Health, what batch transform may send, models."""
        verb = operation.verb
        if verb == "ready":
            # Of many models one may be out of order: they are asked one by one, and the container is healthy.
            return invocations.health(catalogue.ready if self._many else catalogue.answers)
        if verb == "server":
            return Reply(200, _encode(self._batch()))
        if verb == "list":
            loaded = [_model(card) for card in catalogue.cards.values() if card.state != "LOADING"]
            return Reply(200, _encode({"models": loaded}))
        if verb == "model":
            return Reply(200, _encode(_model(catalogue.card(operation.endpoint))))
        return Reply(200, b"{}")

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """The platform shows a body as it is."""
        return invocations.failed(error, reference)

    def _batch(self) -> dict[str, int | str]:
        said = self.manner.environment
        strategy = said.get("SAGEMAKER_BATCH_STRATEGY", "").upper().replace("-", "_")
        return {
            "MaxConcurrentTransforms": _number(said.get("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"))
            or 4 * default_workers(),
            "BatchStrategy": "SINGLE_RECORD" if strategy in ("SINGLE_RECORD", "SINGLERECORD") else "MULTI_RECORD",
            "MaxPayloadInMB": _number(said.get("SAGEMAKER_MAX_PAYLOAD_IN_MB")) or 6,
        }


def _bare_rows(body: bytes, signature: Signature) -> Arrays:
    arrays = read_rows(msgspec.Raw(body), signature, "rows")
    if not all(map(len, arrays.values())):
        raise InvalidInput("there are no rows", "send at least one", where="rows")
    return arrays


def _model(card: Card) -> dict[str, str]:
    return {"modelName": card.name, "modelUrl": card.source}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _header(call: Call, name: bytes) -> str:
    return call.headers.get(_PREFIX + name, b"").decode("utf-8", "replace")


def _echo(call: Call) -> bytes:
    """What goes back as it came."""
    names = (_PREFIX + b"custom-attributes", _PREFIX + b"inference-id")
    return b"".join(b"%b: %b\r\n" % (name, call.headers[name]) for name in names if name in call.headers)
