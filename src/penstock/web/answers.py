"""Answers as JSON, every field spelled out.

What comes in: a record, a dataclass, or lists and mappings of them. What goes out: a Response; where the thing
has a generation, an ETag that a later change can name in ``If-Match``.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from penstock.app.app import App
from penstock.app.plain import plain
from penstock.errors import Conflict, InvalidInput


def answer(value: object, *, status: int = 200, generation: int | None = None) -> Response:
    """A JSON response; `generation` becomes its ETag."""
    headers = {} if generation is None else {"etag": f'"{generation}"'}
    return Response(msgspec.json.encode(plain(value)), status, headers=headers, media_type="application/json")


def hold_generation(app: App, subject: str, expected: str | None) -> None:
    """Refuse a change whose caller looked at an older state than today's; no `If-Match`, no check.

    Raises:
        InvalidInput: It is no generation we ever sent.
        Conflict: The subject has moved on.
    """
    if not expected:
        return
    text = expected.strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        raise InvalidInput("If-Match holds no generation", "send back the ETag as it came", where="if-match")
    if app.state().generation(subject) != int(text):
        raise Conflict("somebody changed it after you read it", "read it again, then decide again")
