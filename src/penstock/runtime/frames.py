"""The wire between an engine and its sandboxed worker: a small header, then raw little-endian tensors.

    u64 header bytes | u64 tensor bytes | u64 request | 0 | header (MessagePack array) | bytes of each tensor, in order

The request's number stands before the header, so that the headers of one model are the same again and again: each is
made once and read once. Header and tensors are each filled up to 16 bytes, so that numbers lie where a processor wants
them. BYTES tensors are strings of UTF-8, each after its length as a u32. Never pickle. Both sides import this file, so
it needs numpy and msgspec only; what the other side says of lengths and shapes is checked before use. One frame goes
each way at a time: more bytes than one frame's are no frame.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from penstock.tensors import DTYPES, Array, Arrays, Signature, datatype_of

MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 1 << 30
_PREFIX = struct.Struct("<QQQ8x")
_ALIGNED = 16
_NOTHING = bytes(_ALIGNED)
_SMALL = 64 << 10
_LARGE = 16 << 10
_KNOWN = 64
_KNOWN_BYTES = 4 << 10
"""So many headers of at most this size are remembered: what a hostile model fills with them is bounded."""

Buffer = bytes | memoryview


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One tensor of a frame: its bytes follow the header."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class Header(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
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
    """What a worker is told to load.

    Attributes:
        path: The model's file.
        kind: Of its format.
        signature: The package's.
        transforms: Path of the steps around it; empty for none.
    """

    path: str
    kind: str
    signature: Signature
    transforms: str = ""


class _Form(NamedTuple):
    """A header that was read, and where its tensors lie.

    Attributes:
        header: Without the request's number.
        slots: Name, dtype, shape, first byte, and the one after the last.
        size: Bytes of all tensors.
    """

    header: Header
    slots: tuple[tuple[str, np.dtype[np.generic], tuple[int, ...], int, int], ...]
    size: int


_HEADER = msgspec.msgpack.Decoder(Header)
_ENCODE = msgspec.msgpack.Encoder().encode


def pack(header: Header, arrays: Mapping[str, Array] | None = None) -> bytes:
    """One frame, ready to be sent."""
    return b"".join(buffers(header, arrays))


def buffers(header: Header, arrays: Mapping[str, Array] | None = None) -> list[Buffer]:
    """One frame in pieces to be sent one after the other, so that large tensors are not copied."""
    parts: list[tuple[str, np.dtype[np.generic], tuple[int, ...], int]] = []
    blobs: list[Buffer] = []
    total = 0
    for name, array in (arrays or {}).items():
        blob = _strings(array) if array.dtype.kind == "O" else _raw(array)
        size = len(blob)
        parts.append((name, array.dtype, array.shape, size))
        blobs.append(blob)
        if rest := -size % _ALIGNED:
            blobs.append(_NOTHING[:rest])
        total += size + rest
    length, head = _head(tuple(parts), header.failed, header.refused, header.message)
    return [_PREFIX.pack(length, total, header.id) + head, *blobs]


@lru_cache(_KNOWN)
def _head(
    parts: tuple[tuple[str, np.dtype[np.generic], tuple[int, ...], int], ...], failed: str, refused: str, message: str
) -> tuple[int, bytes]:
    """A header's length, and its bytes filled up."""
    said = tuple([Part(name, datatype_of(dtype), shape, size) for name, dtype, shape, size in parts])
    head = _ENCODE(Header(0, said, failed, refused, message))
    return len(head), head + bytes(-len(head) % _ALIGNED)


class Inbox:
    """Puts one frame together from what a socket has.

    Attributes:
        most: Bytes that the tensors of a frame may take.
    """

    __slots__ = ("_buffer", "_have", "_small", "most")

    def __init__(self, most: int = MAX_FRAME_BYTES) -> None:
        self.most = most
        self._small = bytearray(_SMALL)
        self._buffer = self._small
        self._have = 0

    @property
    def begun(self) -> bool:
        """Whether a part of a frame is there."""
        return self._have > 0

    def receive(self, channel: socket.socket) -> tuple[Header, Arrays] | None:
        """Read once what the socket has; the frame if that was its last part.

        Raises:
            BlockingIOError: It has nothing now; TimeoutError where the socket has a timeout.
            EOFError: The other side is gone.
            ValueError: What came is no frame, or larger than one may be.
        """
        count = channel.recv_into(memoryview(self._buffer)[self._have :])
        if not count:
            raise EOFError
        self._have += count
        return self._frame()

    def _frame(self) -> tuple[Header, Arrays] | None:
        """The frame, once all of it is there."""
        have = self._have
        if have < _PREFIX.size:
            return None
        head, body, number = _PREFIX.unpack_from(self._buffer)
        if head > MAX_HEADER_BYTES:
            raise ValueError("the header is too long")
        if body > self.most:
            raise ValueError("the tensors are too large")
        start = _PREFIX.size + head + -head % _ALIGNED
        end = start + body
        if have < end:
            if end > len(self._buffer):
                self._buffer = self._buffer[:have] + bytearray(end - have)
            return None
        if have > end:
            raise ValueError("there is more than one frame")
        view = memoryview(self._buffer)
        # A large frame leaves with its buffer; a small one's numbers are copied, and the buffer used again.
        data = view[start:end] if self._buffer is not self._small else memoryview(bytes(view[start:end]))
        form = (_form if head <= _KNOWN_BYTES else _form.__wrapped__)(bytes(view[_PREFIX.size : _PREFIX.size + head]))
        self._buffer, self._have = self._small, 0
        said = form.header
        return Header(number, said.tensors, said.failed, said.refused, said.message), _arrays(form, data)


@lru_cache(_KNOWN)
def _form(head: bytes) -> _Form:
    """What a header's bytes say; ValueError where that makes no sense."""
    try:
        header = _HEADER.decode(head)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("the header is no header") from error
    slots = []
    at = 0
    for part in header.tensors:
        dtype = DTYPES.get(part.datatype)
        if dtype is None or any(length < 0 for length in part.shape) or part.size < 0:
            raise ValueError("a tensor has no known datatype or shape")
        if dtype.kind != "O" and math.prod(part.shape) * dtype.itemsize != part.size:
            raise ValueError("a tensor's size is not its shape's")
        slots.append((part.name, dtype, part.shape, at, at + part.size))
        at += part.size + -part.size % _ALIGNED
    return _Form(header, tuple(slots), at)


def _arrays(form: _Form, data: memoryview) -> Arrays:
    """The tensors that a header declares, if that is what came."""
    if form.size != len(data):
        raise ValueError("a frame is longer or shorter than its tensors")
    found: Arrays = {}
    for name, dtype, shape, start, end in form.slots:
        if dtype.kind == "O":
            found[name] = _texts(data[start:end], math.prod(shape)).reshape(shape)
        else:
            found[name] = np.frombuffer(data[start:end], dtype).reshape(shape)
    return found


def _raw(array: Array) -> Buffer:
    """Little-endian bytes; of a large array the memory itself."""
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.tobytes() if array.nbytes < _LARGE or not array.flags.c_contiguous else array.data.cast("B")


def _strings(array: Array) -> bytes:
    """Length-prefixed UTF-8."""
    texts = [str(item).encode() for item in array.ravel().tolist()]
    return b"".join(piece for text in texts for piece in (struct.pack("<I", len(text)), text))


def _texts(data: memoryview, count: int) -> Array:
    """So many strings; errors as `Inbox.receive`."""
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
