"""Stage 4, serve: an error as HTTP says it: its status, and the body that most dialects give it.

Comes in: a `PenstockError`. Goes out: a `Reply`. It is the one map from errors to HTTP codes, because every dialect
of ``protocols/`` speaks HTTP.
"""

from __future__ import annotations

import msgspec

from penstock import errors
from penstock.serve.calls import Reply

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
    "serve.media_type": 415,
    "serve.not_acceptable": 406,
    "serve.memory": 507,
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
