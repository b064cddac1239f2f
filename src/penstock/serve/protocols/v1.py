"""Stage 4, serve: the KServe V1 REST protocol, and TensorFlow Serving's where it has the same paths.

Comes in: ``{"instances": [...]}``, where a row is a list in the signature's order, an object by column, or the
value itself for a model of one column; or TensorFlow Serving's ``{"inputs": ...}``. Goes out: ``{"predictions": ...}``
(one entry a row: the value where the model has one output, an object by output name where it has several), or
``{"outputs": ...}``. A status is both servers' at once. Verbs are known in any case, as TensorFlow Serving knows them.
"""

from __future__ import annotations

import re

import msgspec

from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.cloudevents import read_event
from penstock.serve.explanations import aim_in, rows_of
from penstock.serve.openaicards import listed, model_list
from penstock.serve.predictbody import PredictBody, written
from penstock.serve.protocol import (
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
from penstock.serve.tfcards import version_statuses
from penstock.tensors import Signature

_encode = msgspec.json.Encoder().encode
_PATH = re.compile(r"/v1/models(?:/([^/:]+)(?::([a-z]+))?)?/?", re.IGNORECASE)
_VERBS: dict[tuple[str, str], Verb] = {
    ("GET", ""): "model_ready",
    ("POST", "predict"): "predict",
    ("POST", "explain"): "explain",
}


class V1Protocol(ServingProtocol):
    """KServe V1, REST."""

    forms = ("v1.json",)

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._body = PredictBody(manner)

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
        verb = _VERBS.get((method, (found[2] or "").lower()))
        return Operation(verb, found[1]) if verb else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """Rows or columns, alone or in a CloudEvent, to one array an input."""
        return self._body.decode(call, signature)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One entry a row, or a column, as the request had it."""
        return self._body.encode(request, prediction)

    def aim(self, call: Call) -> Aim:
        """``{"parameters": {"output", "class"}}`` beside the rows."""
        event = read_event(call)
        return aim_in(event.data if event else call.body)

    def explain(self, request: Request, explanation: Explanation) -> Reply:
        """One entry a row."""
        body = {
            "explanations": rows_of(explanation),
            "explanation_id": explanation.id,
            "model_version": explanation.version,
            "method": explanation.method,
            "background_rows": explanation.background_rows,
        }
        return self._body.enveloped(request, Reply(200, written(body, nan_tokens=explanation.nan_tokens)), explanation)

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Life; list and status, which are OpenAI's, too."""
        if operation.verb == "alive":
            return Reply(200, b'{"status":"alive"}')
        if not operation.endpoint:
            return Reply(200, _encode({"models": list(catalogue.cards)} | model_list(catalogue.cards.values())))
        card = catalogue.card(operation.endpoint)
        body = {"name": card.name, "ready": card.ready, "model_version_status": version_statuses(card, "")}
        return Reply(200 if card.ready else 503, _encode(body | listed(card)))
