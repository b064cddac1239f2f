"""Stage 4, serve: gRPC's own health service, as its clients and Kubernetes' probes ask (doc/health-checking.md).

The empty service and the services' names stand for this server; any other name is an endpoint's. Watch answers anew
whenever the answer is another one.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from penstock.errors import InvalidInput, NotFound
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue, unknown_endpoint
from penstock.serve.protocol import STRICT, Manner, Operation, Prediction, Request
from penstock.serve.protos.messages import POOL, message
from penstock.serve.service import CONTENT_TYPE, METHOD, NOT_FOUND, Rpc, Service
from penstock.tensors import Signature

NAME = "grpc.health.v1.Health"
_CHECK, _WATCH = f"/{NAME}/Check", f"/{NAME}/Watch"
_Request = message("grpc.health.v1.HealthCheckRequest")
_Response = message("grpc.health.v1.HealthCheckResponse")
_SERVICES = (
    "inference.GRPCInferenceService", "tensorflow.serving.ModelService", "tensorflow.serving.PredictionService",
)  # fmt: skip
_SERVER = frozenset({"", NAME, *_SERVICES})
_STATES = POOL.FindEnumTypeByName("grpc.health.v1.HealthCheckResponse.ServingStatus").values_by_name
SERVING, NOT_SERVING, SERVICE_UNKNOWN = (_STATES[name].number for name in ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"))


class HealthService(Service):
    """``grpc.health.v1.Health``."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self.rpcs = {_CHECK: Rpc(lambda _: _CHECK), _WATCH: Rpc(lambda _: _WATCH, "anew", _watched)}

    def match(self, method: str, path: str) -> Operation | None:
        """Both methods ask whether something is ready."""
        return Operation("ready") if method == METHOD and path in (_CHECK, _WATCH) else None

    def decode(self, call: Call, signature: Signature) -> Request:
        """There are no predictions here."""
        raise NotFound("health is not predicted", "call Check or Watch")

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """There are no predictions here."""
        raise NotFound("health is not predicted", "call Check or Watch")

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Whether the server, or one of its endpoints, answers predictions.

        Raises:
            NotFound: There is no such endpoint, or the caller may not know of it.
        """
        try:
            service = _Request.FromString(call.body).service
        except DecodeError:
            raise InvalidInput("this is no HealthCheckRequest", "see the .proto", code="input.malformed") from None
        if service in _SERVER:
            ready = catalogue.ready
        elif service in catalogue.cards:
            ready = catalogue.cards[service].ready
        else:
            raise unknown_endpoint()
        return Reply(0, _state(SERVING if ready else NOT_SERVING), CONTENT_TYPE)


def _state(status: int) -> bytes:
    said: bytes = _Response(status=status).SerializeToString()
    return said


def _watched(reply: Reply) -> bytes:
    """A service that is not there may come: it is watched, too."""
    if not reply.status:
        return reply.body
    return _state(SERVICE_UNKNOWN if reply.status == NOT_FOUND else NOT_SERVING)
