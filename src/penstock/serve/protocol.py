"""Stage 4, serve: what a dialect has to do, and the nouns that pass between listener, dialect and flow.

    listener --Call--> flow --Call--> decode --Request--> flow ... Prediction --> encode --Reply--> listener

Everything here is free of input and output: bytes and headers come in, bytes and a status go out, so an HTTP
listener, a function handler and a test call the same code. The one map from errors to HTTP codes is here too,
because every dialect of this folder speaks HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec

from penstock import errors
from penstock.tensors import Arrays, Signature

Verb = Literal[
    "predict", "alive", "live", "ready", "server", "list", "model", "model_ready", "index", "stats", "config",
    "load", "unload", "explain", "metrics",
]  # fmt: skip


class Call(msgspec.Struct, frozen=True):
    """One request as a listener read it.

    Attributes:
        method: Upper case.
        path: Without the query, percent-decoded.
        headers: Names in lower case.
        body: Decompressed.
        received_at: Seconds since the epoch.
        started: `time.perf_counter` when the last byte came.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    received_at: float
    started: float


class Operation(msgspec.Struct, frozen=True):
    """What a path and a method ask for."""

    verb: Verb
    endpoint: str = ""
    version: str = ""


class Request(msgspec.Struct, frozen=True):
    """One decoded prediction request.

    Attributes:
        client_id: The caller's own id, echoed and kept apart from ours.
        key: Routing key; empty where the caller gave none.
        event_time: Seconds since the epoch; 0 where the caller did not say.
        timeout_s: The caller's time budget; 0 where there is none.
        wanted: Outputs to answer with; empty means all.
        binary: Outputs to answer as raw bytes.
    """

    arrays: Arrays
    client_id: str = ""
    key: str = ""
    event_time: float = 0.0
    timeout_s: float = 0.0
    wanted: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()


class Prediction(msgspec.Struct, frozen=True):
    """What a model answered to one request, and which model it was."""

    id: str
    endpoint: str
    version: str
    outputs: Arrays


class Reply(msgspec.Struct, frozen=True):
    """What goes back: status, body, and further header lines, each ended by CR LF."""

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: bytes = b""


class Card(msgspec.Struct, frozen=True):
    """An endpoint as callers may see it.

    Attributes:
        signature: None while nothing is loaded.
        counts: Answered and failed requests and their summed seconds, over all workers.
    """

    name: str
    versions: tuple[str, ...] = ()
    platform: str = ""
    ready: bool = False
    signature: Signature | None = None
    counts: tuple[int, int, float] = (0, 0, 0.0)


class Catalogue(msgspec.Struct, frozen=True):
    """All endpoints a caller may see, and whether this worker takes requests."""

    cards: Mapping[str, Card]
    ready: bool

    def card(self, name: str, version: str = "") -> Card:
        """The endpoint of that name.

        Raises:
            NotFound: There is none, or it has no such version.
        """
        card = self.cards.get(name)
        if card is None:
            raise unknown_endpoint()
        if version and card.ready and version not in card.versions:
            raise errors.NotFound("the endpoint has no such version", "leave the version out", code="serve.no_version")
        return card


class ServingProtocol(Protocol):
    """A dialect: four verbs, none of which reads or writes anything.

    Attributes:
        forms: Names of its usual requests in the adapters' ``rowcodec`` table; empty where it has none.
    """

    forms: tuple[str, ...]

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line asks for; None where it is not this dialect's."""

    def decode(self, call: Call, signature: Signature) -> Request:
        """Bytes to arrays, by the signature's names.

        Raises:
            InvalidInput: With the field's path and never its value.
        """

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """Outputs to bytes."""

    def describe(self, operation: Operation, catalogue: Catalogue) -> Reply:
        """The answer to everything that is not a prediction."""


STATUS: dict[type[errors.PenstockError], int] = {
    errors.InvalidInput: 400,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Forbidden: 403,
    errors.Refused: 400,
    errors.DeadlineExceeded: 504,
    errors.Unready: 503,
    errors.Fault: 500,
}
BY_CODE = {
    "access.unauthenticated": 401,
    "serve.unsupported": 501,
    "serve.method": 405,
    "serve.too_large": 413,
    "serve.slow": 408,
    "serve.share": 429,
    "serve.rate": 429,
    "serve.cancelled": 499,
    "serve.headers_too_large": 431,
}


def status_of(error: errors.PenstockError) -> int:
    """The HTTP status of an error: by its code where that has one of its own, else by the nearest class."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def refuse(error: errors.PenstockError, reference: str = "") -> Reply:
    """The answer to a request that failed: ``{"error", "code", "where"}``; a fault shows its code alone.

    Args:
        error: What went wrong.
        reference: Id under which the log tells more of a fault.
    """
    status = status_of(error)
    if isinstance(error, errors.Fault):
        text = "the server failed at this request; its log says more under this id"
        return Reply(status, msgspec.json.encode({"error": text, "code": error.code, "id": reference}))
    body = {"error": str(error), "code": error.code}
    if error.where:
        body["where"] = error.where
    headers = b""
    if status in (429, 503):
        headers = b"retry-after: %d\r\n" % getattr(error, "retry_after_s", 1)
    elif status == 401:
        headers = b"www-authenticate: Bearer\r\n"
    return Reply(status, msgspec.json.encode(body), headers=headers)


def unknown_endpoint() -> errors.NotFound:
    """The same words whether it never existed or the caller may not know of it."""
    return errors.NotFound("there is no such endpoint", "GET /v2/models lists them", code="serve.no_endpoint")


def seconds(text: str | float, where: str) -> float:
    """A time as epoch seconds or ISO 8601 (without a zone: UTC).

    Raises:
        InvalidInput: It is neither, or outside the years 1970 to 5138.
    """
    try:
        value = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(text))
        except ValueError:
            raise _not_a_time(where) from None
        value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0 <= value < 1e11:
        raise _not_a_time(where)
    return value


def _not_a_time(where: str) -> errors.InvalidInput:
    return errors.InvalidInput("this is not a time", "send epoch seconds or ISO 8601", where=where)
