"""Stage 4, serve: request heads that were parsed before.

A client that keeps its connection sends the same head again and again, and the strict parser costs more than all the
rest of HTTP. A head it has accepted, byte for byte the same and at the start of a message, means the same again: it
is looked up instead. Only plain heads are kept: one Content-Length, no transfer or content coding, no expectation.
"""

from __future__ import annotations

from penstock.serve.express import Ticket

MOST = 512
MOST_BYTES = 2048
_END = b"\r\n\r\n"
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"connection"})


class Head:
    """What a head says.

    Attributes:
        raw: Its bytes.
        headers: Shared by all requests that have it; nobody changes them.
        whole: Bytes of a request with it.
        ticket: What it was last found to be worth; None while nobody asked.
    """

    __slots__ = ("headers", "method", "path", "raw", "ticket", "whole")

    def __init__(self, raw: bytes, method: str, path: str, headers: dict[bytes, bytes], *, length: int) -> None:
        self.raw = raw
        self.method = method
        self.path = path
        self.headers = headers
        self.whole = len(raw) + length
        self.ticket: Ticket | None = None


class Heads:
    """Heads by their bytes; emptied when full, so that a client with a new head each time costs no memory."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> Head | None:
        """The head of `data`, if that is exactly one request whose head is known."""
        end = data.find(_END, 0, MOST_BYTES)
        if end < 0:
            return None
        head = self._known.get(data[: end + 4])
        return head if head is not None and len(data) == head.whole else None

    def keep(self, data: bytes, method: str, path: str, headers: dict[bytes, bytes]) -> None:
        """Remember the head of `data`, which the parser took whole and alone."""
        end = data.find(_END, 0, MOST_BYTES)
        length = headers.get(b"content-length", b"0")
        if end < 0 or not length.isdigit() or not _SPECIAL.isdisjoint(headers) or len(data) != end + 4 + int(length):
            return
        if len(self._known) >= MOST:
            self._known.clear()
        raw = data[: end + 4]
        self._known[raw] = Head(raw, method, path, headers, length=int(length))
