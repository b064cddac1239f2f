"""Stage 4, serve: one HTTP/2 stream: its two windows, what waits to leave on it, and who is told what comes."""

from __future__ import annotations

from collections import deque
from time import monotonic

from penstock.serve.listeners.http2_heads import RequestHead


class Http2Stream:
    """One request of a connection; a listener's own kind says what to do with what comes.

    Args:
        stream: Its number.
        head: Its request's head.
        window: What the peer takes on it, in bytes of DATA.
        credit: What it may still send.

    Attributes:
        half_closed: The peer sends no more.
        since: `monotonic` when it was opened, or when the message now coming began.
        incoming: Bytes of a message that is not whole yet.
        queue: DATA that waits for a window; None or empty where none does.
        queued: Its bytes.
        stalled_at: When something of `queue` last left.
        trailers: The frame that ends it once `queue` is empty.
    """

    __slots__ = (
        "credit", "half_closed", "head", "id", "incoming", "queue", "queued", "since", "stalled_at", "trailers",
        "window",
    )  # fmt: skip

    def __init__(self, stream: int, head: RequestHead, window: int, credit: int) -> None:
        self.id = stream
        self.head = head
        self.window = window
        self.credit = credit
        self.half_closed = False
        self.since = monotonic()
        self.incoming = 0
        self.queue: deque[memoryview] | None = None
        self.queued = 0
        self.stalled_at = 0.0
        self.trailers = b""

    def opened(self) -> None:
        """Its head is here."""

    def received(self, data: bytes) -> None:
        """A piece of what it carries."""

    def finished(self) -> None:
        """The peer has sent all."""

    def whole(self, data: bytes) -> None:
        """All it carries came at once."""
        self.opened()
        self.received(data)
        self.finished()

    def lost(self) -> None:
        """It was reset, or the connection has gone: nobody waits for its answer."""

    def leave(self) -> None:
        """The server goes: end it soon, when it would not end by itself."""

    def welcome(self) -> bool:
        """Whether more may be sent on it now."""
        return True

    def check(self, now: float) -> None:
        """Once a second: end it when its peer is too slow."""
