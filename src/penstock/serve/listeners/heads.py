"""Stage 4, serve: request heads that were parsed before.

A client that keeps its connection sends the same head again and again, and the strict parser costs more than all the
rest of HTTP. A head it has accepted, byte for byte the same and at the start of a message, means the same again: it
is looked up instead. Only plain heads are kept: one Content-Length, no transfer or content coding, no expectation.
"""

from __future__ import annotations

from typing import NamedTuple

MOST = 512
MOST_BYTES = 2048
_END = b"\r\n\r\n"
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"connection"})


class Head(NamedTuple):
    """What a head says.

    Attributes:
        headers: Shared by all requests that have it; nobody changes them.
        length: Of the body.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    length: int


class Heads:
    """Heads by their bytes; emptied when full, so that a client with a new head each time costs no memory."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if it is exactly one request whose head is known."""
        end = data.find(_END, 0, MOST_BYTES)
        if end < 0:
            return None
        head = self._known.get(data[: end + 4])
        if head is None or len(data) != end + 4 + head.length:
            return None
        return head, data[end + 4 :]

    def keep(self, data: bytes, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Remember the head of `data`, which the parser took whole and alone."""
        end = data.find(_END, 0, MOST_BYTES)
        length = headers.get(b"content-length", b"0")
        if end < 0 or not length.isdigit() or not _SPECIAL.isdisjoint(headers) or len(data) != end + 4 + int(length):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[data[: end + 4]] = Head(method, path, headers, int(length))
