"""From an error to HTTP, once: the status of each class and the one JSON body they all have.

What comes in: any exception of a handler. What goes out: a status, a `Refusal`, headers. A fault's text goes to
the log under the request id; the client gets its code and that id, nothing else.
"""

from __future__ import annotations

import logging

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from penstock.errors import (
    BadConfig,
    Conflict,
    DeadlineExceeded,
    Fault,
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PenstockError,
    Refused,
    Unready,
    Untrusted,
)
from penstock.records import Record, encode

UNAUTHENTICATED = "access.unauthenticated"
"""The code of a caller whom nobody recognised: 401, where an identity without the right gets 403."""

_STATUS: dict[type[PenstockError], int] = {
    InvalidInput: 422,
    NotFound: 404,
    Conflict: 409,
    Untrusted: 422,
    Forbidden: 403,
    BadConfig: 400,
    Refused: 400,
    NotReady: 503,
    Overloaded: 429,
    DeadlineExceeded: 504,
    Unready: 503,
    Fault: 500,
}
_BY_STATUS = {
    400: ("request.malformed", "the request is not well formed"),
    404: ("request.no_route", "there is nothing at this address"),
    405: ("request.method", "this address does not answer that method"),
    413: ("request.too_large", "the request is larger than this address takes"),
    415: ("request.media_type", "the request's content type is not one this address reads"),
}
_LOG = logging.getLogger("penstock.web")


class Refusal(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What every error looks like to a client."""

    error: str
    message: str
    hint: str
    where: str
    request_id: str


def unauthenticated() -> Forbidden:
    """The refusal of a caller without a token or session that is known and still good."""
    return Forbidden(
        "sign in first: this needs a token that is known and has not expired",
        "send it as 'Authorization: Bearer TOKEN', or sign in on the console",
        code=UNAUTHENTICATED,
    )


def status_of(error: PenstockError) -> int:
    """The HTTP status of an error, by the nearest of its classes."""
    if error.code == UNAUTHENTICATED:
        return 401
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def refusal_of(error: Exception, request_id: str) -> tuple[int, Refusal]:
    """What to tell the client of any exception; what must not be told goes to the log."""
    if isinstance(error, RequestValidationError):
        error = _invalid(error)
    if isinstance(error, HTTPException):
        return _by_status(error.status_code, request_id)
    if not isinstance(error, PenstockError) or isinstance(error, Fault):
        _LOG.error("request %s failed", request_id, exc_info=error)
        code = error.code if isinstance(error, PenstockError) else Fault.code
        hint = "look for the request id in the control plane's log"
        return 500, Refusal(error=code, message="this failed on our side", hint=hint, where="", request_id=request_id)
    return status_of(error), Refusal(
        error=error.code, message=error.message, hint=error.hint, where=error.where, request_id=request_id
    )


def refusal_headers(error: Exception, status: int) -> dict[str, str]:
    """Headers that belong to a refusal: when to come back, how to sign in."""
    if status == 401:
        return {"www-authenticate": 'Bearer realm="penstock"'}
    if isinstance(error, Overloaded):
        return {"retry-after": str(error.retry_after_s)}
    return {"retry-after": "1"} if isinstance(error, Unready) else {}


def json_refusal(error: Exception, request_id: str) -> Response:
    """The refusal as JSON, with its status and headers."""
    status, refusal = refusal_of(error, request_id)
    return Response(
        encode(refusal), status, headers=refusal_headers(error, status), media_type="application/json; charset=utf-8"
    )


def _by_status(status: int, request_id: str) -> tuple[int, Refusal]:
    code, message = _BY_STATUS.get(status, ("request.refused", "the request was refused"))
    return status, Refusal(error=code, message=message, hint="", where="", request_id=request_id)


def _invalid(error: RequestValidationError) -> InvalidInput:
    """The first complaint with its place; pydantic's own text can repeat the input, so only its kind is told."""
    first = error.errors()[0]
    kind = str(first.get("type", ""))
    place = [part for part in first.get("loc", ()) if part not in ("body", "query", "path")]
    if kind == "json_invalid":
        return InvalidInput("the body is not JSON", "send one JSON document", code="request.malformed")
    if kind == "extra_forbidden":
        # The last part is the unknown field's own name: the caller's text, so it is not repeated.
        return InvalidInput("there is a field this address does not know", "leave it out", where=_path(place[:-1]))
    message = {"missing": "a required field is missing"}.get(kind, f"the value does not fit: {_words(kind)}")
    return InvalidInput(message, "see /api/v1/openapi.json for what is expected", where=_path(place))


def _words(kind: str) -> str:
    return kind.replace("_parsing", "").replace("_type", " expected").replace("_", " ")


def _path(parts: list[str | int]) -> str:
    """``outcomes[3].value``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")
