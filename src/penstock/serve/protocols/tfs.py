"""Stage 4, serve: TensorFlow Serving's REST protocol, where `penstock.serve.protocols.v1` has not the same paths.

Comes in: a prediction of a version or a label, examples to classify or regress, a question for status, signature or
metrics. Goes out: what TensorFlow Serving answers. A label is the name of a variant: ``stable``, ``canary``. Paths are
known in any case. Source: TensorFlow Serving's ``api_rest`` and ``http_rest_api_handler.cc``.
"""

from __future__ import annotations

import re

import msgspec

from penstock.serve.bodyforms import SIGNATURE_NAME, no_such_signature
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import LABEL, Catalogue
from penstock.serve.examples import Classes, Example, Numbers, classes_of, in_context, numbers_of, read_examples
from penstock.serve.predictbody import PredictBody, written
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, ServingProtocol, Verb
from penstock.serve.rowvalues import Value
from penstock.serve.tensordata import parse
from penstock.serve.tfcards import exposition, metadata, version_statuses
from penstock.tensors import Signature

METRICS = "/monitoring/prometheus/metrics"
_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([^/:@]+)|/labels/([^/:]+))?(/metadata|:predict|:classify|:regress)?/?",
    re.IGNORECASE,
)
_VERBS: dict[tuple[str, str], Verb] = {
    ("GET", ""): "model_ready",
    ("GET", "/metadata"): "model",
    ("POST", ":predict"): "predict",
    ("POST", ":classify"): "predict",
    ("POST", ":regress"): "predict",
}
_TEXT = b"text/plain; version=0.0.4; charset=utf-8"


class _Body(msgspec.Struct):
    examples: list[dict[str, Value | list[Value]]]
    context: dict[str, Value | list[Value]] | None = None
    signature_name: str = ""


_decode_body = msgspec.json.Decoder(_Body).decode


class TfsProtocol(ServingProtocol):
    """TensorFlow Serving, REST."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._body = PredictBody(manner)

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line below ``/v1/models/NAME`` asks for, and the metrics."""
        method = "GET" if method == "HEAD" else method
        if path.lower() == METRICS:
            return Operation("stats") if method == "GET" else None
        found = _PATH.fullmatch(path)
        verb = _VERBS.get((method, (found[4] or "").lower())) if found else None
        if not found or not verb:
            return None
        return Operation(verb, found[1], found[2] or (LABEL + found[3] if found[3] else ""))

    def decode(self, call: Call, signature: Signature) -> Request:
        """Rows or columns to predict; examples to classify or regress."""
        verb = call.path.rstrip("/").lower().rpartition(":")[2]
        if verb == "predict":
            return self._body.decode(call, signature)
        plan = classes_of(signature, "") if verb == "classify" else numbers_of(signature, "")
        body = parse(call.body, _decode_body)
        if body.signature_name not in ("", SIGNATURE_NAME):
            raise no_such_signature("signature_name")
        context, examples = _features(body.context or {}), map(_features, body.examples)
        together = in_context(context, examples, len(body.examples), "examples")
        return Request(read_examples(together, signature, "examples"), form=plan)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """``{"results": [...]}`` for examples, else as the request had it."""
        plan = request.form
        if isinstance(plan, Classes):
            results: object = plan.results(prediction.outputs, prediction.classes)
        elif isinstance(plan, Numbers):
            results = plan.results(prediction.outputs)
        else:
            return self._body.encode(request, prediction)
        body = {"results": results, "prediction_id": prediction.id, "model_version": prediction.version}
        return Reply(200, written(body, nan_tokens=prediction.nan_tokens))

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Status, signature, metrics."""
        if operation.verb == "stats":
            return Reply(200, exposition(catalogue.cards.values()), _TEXT)
        card = catalogue.card(operation.endpoint, operation.version)
        if operation.verb == "model":
            return Reply(200, msgspec.json.encode(metadata(card, operation.version)))
        return Reply(200, msgspec.json.encode({"model_version_status": version_statuses(card, operation.version)}))


def _features(given: dict[str, Value | list[Value]]) -> Example:
    """Features with their values in a list each."""
    return {name: value if isinstance(value, list) else [value] for name, value in given.items()}
