"""Stage 4, serve: the contract of a gRPC service, and the one map from errors to gRPC's codes.

    message --path--> what the flow is asked for --> Flow.handle (match, decode, encode, describe, as in every dialect)

A service is a dialect. What it adds is its methods: where the endpoint stands in their request, because a gRPC path
does not say, and how often they answer. Its replies carry a gRPC status instead of an HTTP one, and trailers as
header lines; an error's body is its text. Source: gRPC over HTTP/2 (doc/PROTOCOL-HTTP2.md, doc/statuscodes.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from penstock import errors
from penstock.serve.calls import Reply
from penstock.serve.protocol import ServingProtocol

METHOD: Final = "GRPC"
"""What stands for the HTTP method in a call: no HTTP client can send it."""
CONTENT_TYPE: Final = b"application/grpc"

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

STATUS: dict[type[errors.PenstockError], int] = {
    errors.InvalidInput: INVALID_ARGUMENT,
    errors.NotFound: NOT_FOUND,
    errors.Conflict: ABORTED,
    errors.Forbidden: PERMISSION_DENIED,
    errors.Refused: FAILED_PRECONDITION,
    errors.Overloaded: RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: DEADLINE_EXCEEDED,
    errors.Unready: UNAVAILABLE,
    errors.Fault: INTERNAL,
}
BY_CODE = {
    "access.unauthenticated": UNAUTHENTICATED,
    "serve.unsupported": UNIMPLEMENTED,
    "serve.too_large": RESOURCE_EXHAUSTED,
    "serve.slow": DEADLINE_EXCEEDED,
    "serve.cancelled": CANCELLED,
}
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")

Answers = Literal["once", "each", "anew"]
"""``once``: one request, one response. ``each``: a stream of requests, a response to each. ``anew``: one request,
a response at once and whenever it is another one."""


class Rpc(NamedTuple):
    """A method of a service.

    Attributes:
        path: From a request message to what the flow is asked for; begins with the method's own path.
        answers: How often it does.
        wrap: From a reply, a refusal included, to a message of a stream; None where a refusal ends the stream.
        begin: From a message to that beginning of it which decides the path: any other that begins so has the same.
            Empty where there is none.
    """

    path: Callable[[bytes], str]
    answers: Answers = "once"
    wrap: Callable[[Reply], bytes] | None = None
    begin: Callable[[bytes], bytes] | None = None


class Service(ServingProtocol):
    """A dialect that is a gRPC service.

    Attributes:
        rpcs: Its methods by path, ``/package.Service/Method``.
    """

    rpcs: Mapping[str, Rpc]

    def refuse(self, error: errors.PenstockError, reference: str = "") -> Reply:
        """An error as gRPC status, text and trailers; a fault shows its code alone."""
        return refuse_rpc(error, reference)


def rpc_status(error: errors.PenstockError) -> int:
    """The gRPC status of an error: by its code where that has one of its own, else by the nearest class."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), UNKNOWN)


def refuse_rpc(error: errors.PenstockError, reference: str = "") -> Reply:
    """The answer to a call that failed.

    Where coming back later may help, ``grpc-retry-pushback-ms`` says when (gRFC A6).

    Args:
        error: What went wrong.
        reference: Id under which the log tells more of a fault.
    """
    status = rpc_status(error)
    headers = b"x-error-code: %b\r\n" % error.code.encode()
    if isinstance(error, errors.Fault):
        text = "the server failed at this request; its log says more under this id"
        return Reply(status, f"{text}: {reference}".encode(), CONTENT_TYPE, headers)
    if status in (RESOURCE_EXHAUSTED, UNAVAILABLE) and isinstance(error, errors.Unready):
        headers += b"grpc-retry-pushback-ms: %d\r\n" % (1000 * getattr(error, "retry_after_s", 1))
    return Reply(status, str(error).encode(), CONTENT_TYPE, headers)


@lru_cache(maxsize=1024)
def timeout_s(text: bytes) -> float:
    """A ``grpc-timeout`` in seconds.

    Raises:
        InvalidInput: It is none.
    """
    found = _TIMEOUT.fullmatch(text)
    if found is None:
        raise errors.InvalidInput("this is not a timeout", "send up to 8 digits and a unit", where="grpc-timeout")
    return int(found[1]) * _UNITS[found[2]]
