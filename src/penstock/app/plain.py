"""Records as plain JSON values for people and programs outside: every field spelled out, defaults included.

What comes in: a record, a dataclass, or lists and mappings of them. What goes out: dicts, lists and scalars.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set

import msgspec


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
