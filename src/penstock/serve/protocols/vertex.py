"""Stage 4, serve: Google Vertex AI's contract with custom containers.

Comes in: ``{"instances": [...], "parameters": {...}}`` on the route that the platform's environment names. Goes out:
``{"predictions": [...]}``, one entry an instance. What ``rawPredict`` carries comes in on the same route, untouched: a
body of the V2 protocol is answered in V2. Shared public endpoints of Vertex AI pass 1.5 MB and 60 s; that is the
platform's limit and not held here. Source: "Custom container requirements for prediction".
"""

from __future__ import annotations

import re

import msgspec

from penstock.errors import InvalidInput
from penstock.serve.bodyforms import read_body
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.instances import Instances
from penstock.serve.invocations import health, rows_of
from penstock.serve.mediatypes import media_type
from penstock.serve.predictbody import written
from penstock.serve.predictparams import wanted, with_parameters
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, ServingProtocol, Verb
from penstock.serve.tensordata import parse
from penstock.serve.v2within import V2Within, is_v2
from penstock.tensors import Signature


class _Body(msgspec.Struct):
    instances: msgspec.Raw
    parameters: dict[str, object] | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_TRITON = "application/vnd.vertex-ai-triton.binary+json"
_ROUTE = re.compile(r"/v1/endpoints/([^/:]+)/deployedModels/[^/:]+(?::(?:predict|rawPredict))?")


class VertexProtocol(ServingProtocol):
    """Vertex AI, as its containers are asked."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        said = manner.environment
        self._named = {
            (method, said[name].rstrip("/") or "/"): verb
            for name, method, verb in _ROUTES
            if said.get(name, "").startswith("/")
        }
        # The platform's own ids say nothing here; on any other machine the endpoint's is a name of ours.
        self._hosted = any(name.startswith("AIP_") for name in said)
        self._instances = Instances()
        self._v2 = V2Within(manner, _TRITON)

    def match(self, method: str, path: str) -> Operation | None:
        """The routes that the environment names, or the platform's usual ones."""
        method = "GET" if method == "HEAD" else method
        verb = self._named.get((method, path.rstrip("/") or "/"))
        if verb:
            return Operation(verb)
        found = _ROUTE.fullmatch(path)
        if found is None or method not in ("GET", "POST"):
            return None
        return Operation("predict" if method == "POST" else "ready", "" if self._hosted else found[1])

    def decode(self, call: Call, signature: Signature) -> Request:
        """Instances, or what `rawPredict` carries for V2."""
        kind = media_type(call.headers.get(b"content-type", b""))
        if kind.name == _TRITON or is_v2(call.body):
            return self._v2.decode(call, kind, signature)
        body = parse(call.body, _decode_body)
        arrays = self._instances.typed(call.body, signature)
        if arrays is None:
            arrays, form = read_body(call.body, signature)
            if form != "rows":
                raise InvalidInput("there are both instances and inputs", "send one of them", where="inputs")
        return with_parameters(arrays, body.parameters or {}, signature, "parameters")

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One entry an instance."""
        reply = self._v2.encode(request, prediction)
        if reply is not None:
            return reply
        rows = rows_of(wanted(request, prediction.outputs))
        return Reply(200, written({"predictions": rows}, nan_tokens=prediction.nan_tokens))

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Whether the endpoints answer, or the one that is named."""
        return health(catalogue.card(operation.endpoint).ready if operation.endpoint else catalogue.answers)


_ROUTES: tuple[tuple[str, str, Verb], ...] = (
    ("AIP_HEALTH_ROUTE", "GET", "ready"),
    ("AIP_PREDICT_ROUTE", "POST", "predict"),
)
