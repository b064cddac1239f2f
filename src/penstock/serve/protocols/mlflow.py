"""Stage 4, serve: MLflow's scoring server.

Comes in: ``POST /invocations`` with a data frame (see `penstock.serve.dataframes`), or CSV, JSON lines, NPY, Parquet.
Goes out: ``{"predictions": [...]}``, or what ``Accept`` asks for. Errors are ``{"error_code", "message"}``; a body of
a type or character set that is not spoken is 415 in plain text. In SageMaker's containers the two paths they share are
SageMaker's. Source: MLflow's ``mlflow.pyfunc.scoring_server``.
"""

from __future__ import annotations

import msgspec

from penstock import __version__
from penstock.errors import PenstockError
from penstock.serve import invocations
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.mediatypes import media_type, unsupported
from penstock.serve.platforms import is_sagemaker
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request, ServingProtocol, Verb
from penstock.serve.refusals import status_of
from penstock.tensors import Signature

_PATHS: dict[tuple[str, str], Verb] = {
    ("GET", "/ping"): "ready",
    ("GET", "/health"): "ready",
    ("GET", "/version"): "server",
    ("POST", "/invocations"): "predict",
}


class MlflowProtocol(ServingProtocol):
    """MLflow's scoring server, version 3."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._elsewhere = ("/ping", "/invocations") if is_sagemaker(manner.environment) else ()

    def match(self, method: str, path: str) -> Operation | None:
        """Its four paths; all are about the only endpoint there is."""
        verb = _PATHS.get(("GET" if method == "HEAD" else method, path))
        return Operation(verb) if verb and path not in self._elsewhere else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """A body of any of the types."""
        kind = media_type(call.headers.get(b"content-type", b""))
        if kind.parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise unsupported(("UTF-8",))
        accept = invocations.accept_of(call.headers.get(b"accept", b""))
        request = invocations.read(call.body, kind, signature)
        return msgspec.structs.replace(request, form=invocations.AcceptForm(accept))

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One entry a row."""
        return invocations.answer(request, prediction)

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Whether the endpoints answer; our own version, because MLflow's is not here."""
        if operation.verb == "server":
            return Reply(200, __version__.encode(), b"text/plain; charset=utf-8")
        return invocations.health(catalogue.answers)

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """MLflow's two fields, and ours beside them."""
        if status_of(error) == 415:
            return Reply(415, str(error).encode(), b"text/plain; charset=utf-8")
        return invocations.failed(error, reference)
