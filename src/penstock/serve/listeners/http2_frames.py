"""Stage 4, serve: HTTP/2 frames: their kinds, flags and codes, and the bytes of those we send (RFC 9113, 4 to 7).

9 bytes (length 24, kind 8, flags 8, stream 31) + payload
"""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

DEFAULT_WINDOW: Final = 65535
MOST_WINDOW: Final = 2**31 - 1
LEAST_FRAME: Final = 16384
MOST_FRAME: Final = 2**24 - 1

HEAD: Final = struct.Struct(">IBI")
"""Length and kind in one word, flags, stream."""
_NUMBER = struct.Struct(">I")
_PAIR = struct.Struct(">II")
_SETTING = struct.Struct(">HI")


class ConnectionFault(Exception):
    """A rule was broken that ends the connection; `code` goes into its GOAWAY."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class StreamFault(Exception):
    """A rule was broken that ends one stream; `code` goes into its RST_STREAM."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__()
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def reset(stream: int, code: int) -> bytes:
    """RST_STREAM."""
    return frame(RST_STREAM, 0, stream, _NUMBER.pack(code))


def goaway(last: int, code: int, why: str = "") -> bytes:
    """GOAWAY; `last` is the highest stream that was or may still be answered."""
    return frame(GOAWAY, 0, 0, _PAIR.pack(last, code) + why.encode())


def update(stream: int, size: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _NUMBER.pack(size))


def settings(values: dict[int, int]) -> bytes:
    """SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The pairs of a SETTINGS payload, in order.

    Raises:
        ConnectionFault: It ends inside a pair.
    """
    if len(payload) % 6:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS ends inside a setting")
    return [(key, value) for key, value in _SETTING.iter_unpack(payload)]


def number(payload: bytes) -> int:
    """The one 32-bit number of an RST_STREAM or WINDOW_UPDATE payload, reserved bit included.

    Raises:
        ConnectionFault: It is not four bytes.
    """
    if len(payload) != 4:
        raise ConnectionFault(FRAME_SIZE_ERROR, "the frame is not four bytes")
    return int.from_bytes(payload, "big")


def unpadded(flags: int, payload: bytes) -> bytes:
    """A payload without its padding.

    Raises:
        ConnectionFault: There is more padding than payload (section 6.1).
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
