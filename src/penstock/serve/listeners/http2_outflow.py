"""Stage 4, serve: what leaves an HTTP/2 connection: one write a turn, and DATA only as far as the peer's windows go.

    answer --fits both windows--> frames of this turn
           `--> its stream's queue --> a frame of each waiting stream in turn, as WINDOW_UPDATEs come

RFC 9113, 5.2 and 6.9: DATA counts against the stream's window and the connection's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic

from penstock.serve.listeners.http2_frames import (
    DATA,
    DEFAULT_WINDOW,
    FLOW_CONTROL_ERROR,
    HEAD,
    LEAST_FRAME,
    MOST_WINDOW,
    ConnectionFault,
    StreamFault,
)
from penstock.serve.listeners.http2_stream import Http2Stream
from penstock.serve.turn import LoopTurn

BURST_BYTES = 1 << 20
"""What a turn hands to the transport at most: beyond it, whether it takes more is asked first."""
LINGER_S = 1.0


class Outflow:
    """The sending half of a connection.

    Args:
        turn: Calls `send` at the end of a turn in which there is something to send.
        ended: Is told when the last frame of a stream is out.

    Attributes:
        transport: None before the connection is made and after it is lost.
        window: What the peer takes on the connection, in bytes of DATA.
        initial: What it takes on a new stream.
        frame_bytes: Largest payload it takes.
        queued: Bytes that wait for a window.
        moved_at: When something last left, or began to wait.
        writable: The transport takes more.
        closing: Nothing follows what is there.
    """

    __slots__ = (
        "_ended", "_parts", "_sending", "_shut", "_turn", "_waiting", "closing", "frame_bytes", "initial", "moved_at",
        "queued", "transport", "window", "writable",
    )  # fmt: skip

    def __init__(self, turn: LoopTurn, ended: Callable[[Http2Stream], None]) -> None:
        self._turn = turn
        self._ended = ended
        self._parts: list[bytes] = []
        self._sending = False
        self._waiting: dict[int, Http2Stream] = {}
        self.transport: asyncio.Transport | None = None
        self.window = DEFAULT_WINDOW
        self.initial = DEFAULT_WINDOW
        self.frame_bytes = LEAST_FRAME
        self.queued = 0
        self.moved_at = 0.0
        self.writable = True
        self.closing = False
        self._shut = False

    def put(self, data: bytes) -> None:
        """Send frames that no window holds back."""
        self._parts.append(data)
        if not self._sending:
            self._sending = True
            self._turn.add(self)

    def send(self) -> None:
        """Write what the turn has brought."""
        self._sending = False
        parts, self._parts = self._parts, []
        transport = self.transport
        if transport is None or self._shut:
            return
        if parts:
            transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        if self.closing and not self._shut:
            self._shut = True
            # A peer that still sends would be reset before it has read what was said last.
            transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, transport.close)
        elif self._waiting:
            self.pump()

    def close(self) -> None:
        """Send what is there, then close."""
        if not self.closing:
            self.closing = True
            self.put(b"")

    def data(self, stream: Http2Stream, data: bytes) -> None:
        """Send DATA, now or as windows open."""
        if not self._waiting:
            self.moved_at = monotonic()
        if not stream.queue:
            stream.stalled_at = monotonic()
            self._waiting[stream.id] = stream
            stream.queue = deque()
        stream.queue.append(memoryview(data))
        stream.queued += len(data)
        self.queued += len(data)
        self.pump()

    def end(self, stream: Http2Stream, trailers: bytes) -> None:
        """Send the frame that ends a stream, after its DATA."""
        if stream.queue:
            stream.trailers = trailers
            return
        self.put(trailers)
        self._ended(stream)

    def forget(self, stream: Http2Stream) -> None:
        """Send nothing more of a stream."""
        if self._waiting.pop(stream.id, None) is not None:
            self.queued -= stream.queued
            stream.queue = None

    def widen(self, size: int, stream: Http2Stream | None = None) -> None:
        """The peer takes so much more, on a stream or on the connection.

        Raises:
            ConnectionFault: More than a window can be.
            StreamFault: The same on a stream.
        """
        if stream is None:
            self.window += size
            if self.window > MOST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window is too large")
        else:
            stream.window += size
            if stream.window > MOST_WINDOW:
                raise StreamFault(stream.id, FLOW_CONTROL_ERROR)
        if self._waiting:
            self.pump()

    def resize(self, initial: int, streams: Iterable[Http2Stream]) -> None:
        """The peer's windows begin at another size, those of open streams included (section 6.9.2).

        Raises:
            ConnectionFault: A window gets too large.
        """
        change, self.initial = initial - self.initial, initial
        for stream in streams:
            stream.window += change
            if stream.window > MOST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "a stream's window is too large")
        if self._waiting:
            self.pump()

    def pump(self) -> None:
        """Let a frame of each waiting stream go in turn, while windows and transport take them."""
        left = BURST_BYTES
        moved = 1
        while moved and self.window > 0 and self.writable and left > 0:
            moved = 0
            for stream in list(self._waiting.values()):
                moved += self._step(stream)
            left -= moved

    def _step(self, stream: Http2Stream) -> int:
        """Send one frame of a stream, and what ends it; the number of bytes."""
        queue = stream.queue
        if not queue:
            return 0
        head = queue[0]
        size = min(len(head), stream.window, self.window, self.frame_bytes)
        if size <= 0:
            return 0
        self.put(HEAD.pack(size << 8 | DATA, 0, stream.id) + head[:size])
        if size == len(head):
            queue.popleft()
        else:
            queue[0] = head[size:]
        stream.window -= size
        self.window -= size
        stream.queued -= size
        self.queued -= size
        self.moved_at = stream.stalled_at = monotonic()
        if not queue:
            del self._waiting[stream.id]
            if stream.trailers:
                self.put(stream.trailers)
                self._ended(stream)
        return size

    def stuck(self, now: float, limit_s: float) -> list[Http2Stream]:
        """Streams of which nothing could leave for so long though the connection's window is open."""
        if self.window <= 0:
            return []
        return [stream for stream in self._waiting.values() if now - stream.stalled_at > limit_s]

    def is_stuck(self, now: float, limit_s: float) -> bool:
        """Whether nothing at all could leave for so long."""
        return bool(self._waiting) and self.window <= 0 and now - self.moved_at > limit_s
