"""What every record is: frozen, typed, equal by value, written by `encode` and read back by `decode`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from penstock.errors import Corrupt

Scalar = str | int | float | bool | None
if TYPE_CHECKING:
    JSON = dict[str, "Scalar | list[JSON] | list[Scalar] | JSON"]
else:
    # msgspec decodes no union of two kinds of lists, and no type that holds itself.
    JSON = dict[str, Any]
"""A JSON object as decoded; open-ended evidence and parameters only, never a place for known fields."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all records; unknown fields of a newer writer are ignored by an older reader."""


T = TypeVar("T")
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(record: object) -> bytes:
    """Canonical JSON: sorted keys, no spaces, defaults left out; equal records give equal bytes."""
    return _ENCODER.encode(record)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read a record back.

    Raises:
        Corrupt: The bytes are not such a record; the message names the field, not its value.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"not a {kind.__name__}: {error}", "restore it from a backup or another copy") from error
