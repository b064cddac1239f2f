"""Stage 4, serve: the bytes of a gRPC answer: response head, message prefix, trailers.

Header blocks are made of literals that no table remembers (RFC 7541, 6.2.2), so they mean the same on every
connection and most of them are made once.
"""

from __future__ import annotations

import re
import struct
from functools import lru_cache
from typing import Final

from penstock.serve.calls import Reply
from penstock.serve.listeners.http2_frames import DATA, END_HEADERS, END_STREAM, HEAD, HEADERS
from penstock.serve.service import CONTENT_TYPE, UNKNOWN

PREFIX_BYTES: Final = 5
"""Compressed or not (1 byte), length (4 bytes)."""
MOST_TEXT = 4096
_UNPRINTABLE = re.compile(rb"[^\x20-\x24\x26-\x7e]")
_OK_200 = b"\x88"
"""``:status: 200``, index 8 of the static table."""


def _number(value: int) -> bytes:
    """An integer with a prefix of 7 bits (RFC 7541, 5.1)."""
    if value < 127:
        return bytes((value,))
    value -= 127
    made = bytearray((127,))
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def field(name: bytes, value: bytes) -> bytes:
    """One header, neither compressed nor remembered."""
    return b"".join((b"\0", _number(len(name)), name, _number(len(value)), value))


@lru_cache(maxsize=1024)
def _fields(lines: bytes) -> bytes:
    """Header lines, each ended by CR LF, as header fields."""
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n") if line]
    return b"".join(field(name, value) for name, _, value in pairs)


_TYPE = field(b"content-type", CONTENT_TYPE)
_ENCODINGS = field(b"grpc-accept-encoding", b"identity,gzip")
_STATUS_OK = field(b"grpc-status", b"0")
HEAD_BLOCK = _OK_200 + _TYPE + _ENCODINGS
_HEAD_WORD = len(HEAD_BLOCK) << 8 | HEADERS
_ID_LINE = b"x-prediction-id: "
_ID_NAME = b"\0\x0fx-prediction-id"
_OK_ID = _STATUS_OK + _ID_NAME
_LAST = END_HEADERS | END_STREAM
_BEGIN = struct.Struct(f">IBI{len(HEAD_BLOCK)}sIBIBI").pack


def head(stream: int) -> bytes:
    """The frame that begins an answer."""
    return HEAD.pack(_HEAD_WORD, END_HEADERS, stream) + HEAD_BLOCK


def framed(body: bytes) -> bytes:
    """A message with its prefix."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def ending(stream: int, block: bytes) -> bytes:
    """The frame that ends an answer."""
    return HEAD.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, stream) + block


def trailers(lines: bytes) -> bytes:
    """The last block of an answer that is right; `lines` are the flow's headers, the prediction's id first."""
    if not lines.startswith(_ID_LINE):
        return _STATUS_OK + _fields(lines)
    first, _, rest = lines[len(_ID_LINE) :].partition(b"\r\n")
    return b"".join((_STATUS_OK, _ID_NAME, _number(len(first)), first, _fields(rest)))


def refusal(reply: Reply) -> bytes:
    """The last block of an answer that is none, without what only begins an answer."""
    status = reply.status if reply.content_type == CONTENT_TYPE else UNKNOWN
    text = _UNPRINTABLE.sub(lambda found: b"%%%02X" % found[0][0], reply.body[:MOST_TEXT])
    fields = _fields.__wrapped__(reply.headers)
    return field(b"grpc-status", b"%d" % status) + field(b"grpc-message", text) + fields


def refused_alone(block: bytes) -> bytes:
    """A refusal as an answer's only block."""
    return HEAD_BLOCK + block


def refused_http(status: int) -> bytes:
    """The only block of an answer to what is no gRPC call."""
    return field(b":status", b"%d" % status) + field(b"content-length", b"0")


def whole(stream: int, body: bytes, lines: bytes) -> bytes:
    """A whole answer of one message: head, DATA, trailers."""
    size, block = len(body) + PREFIX_BYTES, trailers(lines)
    return b"".join((_begin(stream, size), body, HEAD.pack(len(block) << 8 | HEADERS, _LAST, stream), block))


def predicted(stream: int, body: bytes, own_id: str, lines: bytes) -> bytes:
    """The same for a prediction of that id; `lines` are the other headers."""
    size, name, rest = len(body) + PREFIX_BYTES, own_id.encode(), _fields(lines)
    length = len(_OK_ID) + 1 + len(name) + len(rest)
    last = HEAD.pack(length << 8 | HEADERS, _LAST, stream)
    return b"".join((_begin(stream, size), body, last, _OK_ID, _number(len(name)), name, rest))


def _begin(stream: int, size: int) -> bytes:
    """Head, and DATA up to its message."""
    return _BEGIN(_HEAD_WORD, END_HEADERS, stream, HEAD_BLOCK, size << 8 | DATA, 0, stream, 0, size - PREFIX_BYTES)
