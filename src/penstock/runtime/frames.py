"""The wire between an engine and its sandboxed worker: a JSON header, then raw little-endian tensors.

    u32 header length | header | bytes of each tensor, in the header's order

BYTES tensors are strings of UTF-8, each after its length as a u32. Never pickle. Both sides import this file,
so it needs numpy and msgspec only; what the other side says of lengths and shapes is checked before use.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping
from typing import Protocol

import msgspec
import numpy as np

from penstock.tensors import DTYPES, Array, Arrays, Signature, datatype_of

MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 1 << 30


class Part(msgspec.Struct, frozen=True):
    """One tensor of a frame: its bytes follow the header."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a frame says before its tensors.

    Attributes:
        id: The request; its answer carries the same.
        tensors: What follows.
        failed: Name of the exception that the model raised; empty when it answered.
        refused: The same for an error of Penstock's own.
        message: Its text, for the log.
    """

    id: int = 0
    tensors: tuple[Part, ...] = ()
    failed: str = ""
    refused: str = ""
    message: str = ""


class Load(msgspec.Struct, frozen=True):
    """What a worker is told to load: the model's file, the kind of its format, and the package's signature."""

    path: str
    kind: str
    signature: Signature


class Receive(Protocol):
    """Reads exactly so many bytes, or raises EOFError or TimeoutError."""

    def __call__(self, length: int, /) -> bytes | bytearray:
        """Read."""


_HEADER = msgspec.json.Decoder(Header)


def pack(header: Header, arrays: Mapping[str, Array] | None = None) -> bytes:
    """One frame, ready to be sent."""
    parts: list[Part] = []
    blobs: list[bytes] = []
    for name, array in (arrays or {}).items():
        blob = _strings(array) if array.dtype.kind == "O" else array.astype(array.dtype.newbyteorder("<")).tobytes()
        parts.append(Part(name, datatype_of(array.dtype), array.shape, len(blob)))
        blobs.append(blob)
    head = msgspec.json.encode(msgspec.structs.replace(header, tensors=tuple(parts)))
    return b"".join((struct.pack("<I", len(head)), head, *blobs))


def read_frame(receive: Receive, *, most: int = MAX_FRAME_BYTES) -> tuple[Header, Arrays]:
    """Read one frame, whose tensors take `most` bytes or less.

    Raises:
        EOFError: The other side is gone.
        TimeoutError: As `receive` decides.
        ValueError: What came is no frame, or larger than one may be.
    """
    (length,) = struct.unpack("<I", receive(4))
    if length > MAX_HEADER_BYTES:
        raise ValueError("the header is too long")
    try:
        header = _HEADER.decode(bytes(receive(length)))
    except msgspec.DecodeError as error:
        raise ValueError("the header is no header") from error
    if any(part.size < 0 for part in header.tensors) or sum(part.size for part in header.tensors) > most:
        raise ValueError("the tensors are too large")
    return header, {part.name: _array(part, receive(part.size)) for part in header.tensors}


def read_exactly(channel: socket.socket, length: int) -> bytes:
    """That many bytes from a blocking socket.

    Raises:
        EOFError: The other side is gone.
    """
    parts: list[bytes] = []
    while length:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _strings(array: Array) -> bytes:
    """Length-prefixed UTF-8."""
    texts = [str(item).encode() for item in array.ravel().tolist()]
    return b"".join(piece for text in texts for piece in (struct.pack("<I", len(text)), text))


def _array(part: Part, data: bytes | bytearray) -> Array:
    """One tensor of what a header declares, if that is what came."""
    dtype = DTYPES.get(part.datatype)
    if dtype is None or any(length < 0 for length in part.shape):
        raise ValueError("a tensor has no known datatype or shape")
    count = math.prod(part.shape)
    if dtype.kind == "O":
        return _texts(data, count).reshape(part.shape)
    if count * dtype.itemsize != part.size:
        raise ValueError("a tensor's size is not its shape's")
    return np.frombuffer(data, dtype=dtype.newbyteorder("<")).reshape(part.shape)


def _texts(data: bytes | bytearray, count: int) -> Array:
    """So many strings; errors as `read_frame`."""
    texts: list[str] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise ValueError("a string is cut short")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError("a string is cut short")
        texts.append(bytes(data[at - length : at]).decode())
    if len(texts) != count:
        raise ValueError("a tensor's strings are not as many as its shape says")
    array = np.empty(count, dtype=object)
    array[:] = texts
    return array
