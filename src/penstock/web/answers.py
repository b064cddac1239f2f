"""Records as JSON for people and programs outside: every field spelled out, defaults included.

What comes in: a record, a dataclass, or lists and mappings of them. What goes out: a Response; where the thing
has a generation, an ETag that a later change can name in ``If-Match``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

import msgspec
from starlette.responses import Response

from penstock.app.app import App
from penstock.errors import Conflict, InvalidInput


def plain(value: object) -> object:
    """The same as lists, dicts and scalars; records keep the fields that `encode` would leave out."""
    if isinstance(value, msgspec.Struct):
        return fields_of(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted(str(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def fields_of(record: msgspec.Struct) -> dict[str, object]:
    """A record's fields, to put others beside them; what it holds is `plain`."""
    return {name: plain(getattr(record, name)) for name in record.__struct_fields__}


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
