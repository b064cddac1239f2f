"""Stage 4, serve: what one connection may cost."""

from __future__ import annotations

import msgspec


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and times of HTTP connections.

    Attributes:
        head_bytes: Request line and headers.
        headers: Number of headers.
        body_bytes: Of a body, as sent and decompressed.
        pipelined: Requests of one connection at once; more are not read.
        connections: Of one worker.
        head_s: From the first byte of a request to the end of its headers.
        body_s: After this time a body must have come at `body_bytes_s` on average.
        body_bytes_s: Bytes a second.
        read_s: A client that reads nothing for so long is cut off.
        idle_s: A connection without a request is kept for so long.
    """

    head_bytes: int = 32 << 10
    headers: int = 100
    body_bytes: int = 64 << 20
    pipelined: int = 64
    connections: int = 8192
    head_s: float = 7.0
    body_s: float = 7.0
    body_bytes_s: float = 8192.0
    read_s: float = 8.0
    idle_s: float = 75.0
