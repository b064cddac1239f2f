"""Stage 4, serve: protobuf's wire format, read and written without copying what is large.

    bytes --fields--> (number, kind, value) ...    values of lengths stay views of the bytes
    number, parts --field--> parts                 joined once, when all is there

A message class copies every byte twice before a tensor can be seen; this is for the messages that carry tensors, and
for nothing else. Source: protobuf's encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from penstock.errors import InvalidInput

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
Part = bytes | memoryview


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        kind: How it is written: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
        value: Of a varint; 0 for the other kinds.
        data: Of the other kinds.
        whole: The field as it was written, tag included.
    """

    number: int
    kind: int
    value: int
    data: memoryview
    whole: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in its order.

    Raises:
        InvalidInput: It is no message.
    """
    at, end = 0, len(message)
    nothing = message[:0]
    while at < end:
        begin = at
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise malformed()
        if kind == VARINT:
            value, at = varint(message, at)
            yield Field(number, kind, value, nothing, message[begin:at])
            continue
        if kind == BYTES:
            size, at = varint(message, at)
        elif kind in _WIDTHS:
            size = _WIDTHS[kind]
        else:
            raise malformed()
        if size > end - at:
            raise malformed()
        at += size
        yield Field(number, kind, 0, message[at - size : at], message[begin:at])


def field(number: int, parts: Sequence[Part]) -> list[Part]:
    """A field of `BYTES` from the parts of its data."""
    return [written_varint(number << 3 | BYTES) + written_varint(sum(map(len, parts))), *parts]


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends.

    Raises:
        InvalidInput: It does not end.
    """
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise malformed()


def written_varint(value: int) -> bytes:
    """A number, 0 or more."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def malformed() -> InvalidInput:
    """The refusal of bytes that are no message."""
    return InvalidInput("the message is not the method's", "see the .proto", code="input.malformed")
