"""Stage 4, serve: the receiving half of an HTTP/2 connection: bytes to frames, frames to streams (RFC 9113).

    bytes -> frames -> account, order, sizes -> header blocks, windows -> streams

A fault of the connection is raised to it; a fault of a stream resets that stream here. Both name the code that the
RFC gives. Priorities are read and ignored (section 5.3.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from penstock.serve.listeners import http2_frames as h2
from penstock.serve.listeners import http2_limits as costs
from penstock.serve.listeners.http2_frames import ConnectionFault, StreamFault
from penstock.serve.listeners.http2_heads import HeaderBlocks, HeadParts, RequestHead
from penstock.serve.listeners.http2_limits import Account, Http2Limits
from penstock.serve.listeners.http2_outflow import Outflow
from penstock.serve.listeners.http2_peer import Peer
from penstock.serve.listeners.http2_stream import Http2Stream

REMEMBERED = 256
"""Streams that we reset: what was under way on them is no fault."""
OpenStream = Callable[[int, RequestHead], Http2Stream]


class Inflow:
    """The receiving half of a connection.

    Args:
        limits: Sizes and costs.
        out: The sending half.
        open_stream: Makes a stream of the listener's kind.

    Attributes:
        streams: Open ones by number.
        last: The highest number that came.
        final: The highest that is still taken.
        half_since: When what `half_read` waits for began.
        account: What the client may still make us do.
        peer: What it says of the connection.
    """

    __slots__ = (
        "_credit", "_greeted", "_heads", "_limits", "_open", "_out", "_parts", "_reset", "account", "final",
        "half_since", "last", "peer", "streams",
    )  # fmt: skip

    def __init__(self, limits: Http2Limits, out: Outflow, open_stream: OpenStream) -> None:
        self._limits = limits
        self._out = out
        self._open = open_stream
        self._heads = HeaderBlocks(limits.head_bytes)
        self._reset: deque[int] = deque(maxlen=REMEMBERED)
        self._greeted = False
        self._parts = HeadParts(limits)
        self._credit = limits.window_bytes
        self.streams: dict[int, Http2Stream] = {}
        self.last = 0
        self.final = h2.MOST_WINDOW
        self.half_since = monotonic()
        self.account = Account(limits.balance)
        self.peer = Peer(limits, out, self.account, self.streams)

    # -- what the connection and its streams say

    def reset(self, number: int, code: int) -> None:
        """End a stream with RST_STREAM; what is still under way on it is no fault."""
        self._out.put(h2.reset(number, code))
        self._reset.append(number)
        stream = self.streams.get(number)
        if stream is not None:
            self.lose(stream)

    def lose(self, stream: Http2Stream) -> None:
        """Nobody waits for a stream any more."""
        del self.streams[stream.id]
        self._out.forget(stream)
        stream.lost()

    def ended(self, stream: Http2Stream) -> None:
        """The last frame of a stream is out; a client that still sends is told that nobody reads it (section 8.1)."""
        self.account.earn(costs.ANSWER_CREDIT)
        if self.streams.pop(stream.id, None) is not None and not stream.half_closed:
            self._out.put(h2.reset(stream.id, h2.NO_ERROR))
            self._reset.append(stream.id)

    def invite(self, stream: Http2Stream) -> None:
        """Let a stream send a whole window again, once its listener takes more."""
        missing = self._limits.stream_bytes - stream.credit
        if missing > 0 and not stream.half_closed and stream.id in self.streams and stream.welcome():
            stream.credit += missing
            self._out.put(h2.update(stream.id, missing))

    def half_read(self) -> bool:
        """Whether the preface, the first SETTINGS or a header block is not whole."""
        return not self.peer.settled or self._parts.pending

    # -- frames

    def read(self, data: bytes) -> int:
        """Take all whole frames; how many bytes they were."""
        at, end, most = 0, len(data), self._limits.frame_bytes
        if not self._greeted:
            if not data.startswith(h2.PREFACE):
                if h2.PREFACE.startswith(data):
                    return 0
                raise ConnectionFault(h2.PROTOCOL_ERROR, "this is not HTTP/2 with prior knowledge")
            self._greeted, at = True, len(h2.PREFACE)
        unpack = h2.HEAD.unpack_from
        while end - at >= 9:
            word, flags, number = unpack(data, at)
            size, kind = word >> 8, word & 255
            if size > most:
                raise ConnectionFault(h2.FRAME_SIZE_ERROR, "the frame is larger than announced")
            after = at + 9 + size
            if after > end:
                break
            if kind == h2.HEADERS and flags == h2.END_HEADERS and self.peer.settled and not self._parts.pending:
                whole = self._take_whole(data, at, after, number)
                if whole:
                    at = whole
                    continue
            if (self._parts.pending and kind != h2.CONTINUATION) or not self.peer.settled:
                self._check_order(kind, flags)
            try:
                _TAKE.get(kind, _UNKNOWN)(self, flags, number & 0x7FFFFFFF, data[at + 9 : after])
            except StreamFault as fault:
                self.account.spend(costs.RESET_COST if fault.code == h2.REFUSED_STREAM else costs.MALFORMED_COST)
                self.reset(fault.stream, fault.code)
            at = after
        return at

    def _take_whole(self, data: bytes, at: int, after: int, number: int) -> int:
        """A request as nearly all of them are: a block that is known, one DATA frame that ends it, nothing unusual.

        Returns:
            Where its last byte was; 0 where it has to be taken frame by frame.
        """
        head = self._heads.known.get(data[at + 9 : after])
        if head is None or head.malformed or len(data) - after < 9:
            return 0
        word: int
        word, flags, again = h2.HEAD.unpack_from(data, after)
        size = word >> 8
        end = after + 9 + size
        usual = flags == h2.END_STREAM and not word & 255 and again == number and end <= len(data)
        if not usual or not self.last < number <= self.final or not number & 1 or size > h2.LEAST_FRAME:
            return 0
        credit = self._credit - size
        limits = self._limits
        if credit < limits.window_bytes >> 1 or len(self.streams) >= limits.streams:
            return 0
        if self._out.queued > limits.queued_bytes:
            return 0
        self._credit = credit
        self.last = number
        stream = self.streams[number] = self._open(number, head)
        stream.half_closed = True
        stream.whole(data[after + 9 : end])
        return end

    def _check_order(self, kind: int, flags: int) -> None:
        """SETTINGS come first, and nothing comes between the parts of a header block."""
        if self._parts.pending:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "a header block is not whole")
        if kind != h2.SETTINGS or flags & h2.ACK:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "SETTINGS come first")

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        """DATA (section 6.1)."""
        size = len(payload)
        self._credit -= size
        if self._credit < 0:
            raise ConnectionFault(h2.FLOW_CONTROL_ERROR, "more DATA than the window takes")
        if self._credit < self._limits.window_bytes >> 1:
            self._out.put(h2.update(0, self._limits.window_bytes - self._credit))
            self._credit = self._limits.window_bytes
        stream = self.streams.get(number)
        if stream is None or stream.half_closed:
            self._stray(number)
            return
        if size < costs.CRUMB_BYTES and not flags & h2.END_STREAM:
            self.account.spend(costs.CRUMB_COST)
        stream.credit -= size
        if stream.credit < 0:
            raise StreamFault(number, h2.FLOW_CONTROL_ERROR)
        stream.received(h2.unpadded(flags, payload) if flags & h2.PADDED else payload)
        if flags & h2.END_STREAM:
            if number in self.streams:
                stream.half_closed = True
                stream.finished()
        elif stream.credit < self._limits.stream_bytes >> 1:
            self.invite(stream)

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        """HEADERS (section 6.2)."""
        if not number & 1:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & h2.PADDED:
            payload = h2.unpadded(flags, payload)
        if flags & h2.PRIORITIZED:
            if len(payload) < 5:
                raise ConnectionFault(h2.FRAME_SIZE_ERROR, "HEADERS ends inside its priority")
            payload = payload[5:]
        if len(payload) > self._limits.head_bytes:
            raise ConnectionFault(h2.ENHANCE_YOUR_CALM, "the header block is too large")
        if flags & h2.END_HEADERS:
            self._take_head(flags, number, payload)
            return
        self._parts.begin(number, flags, payload)
        self.half_since = monotonic()

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        """CONTINUATION (section 6.10), bounded in number and size before anything is decoded."""
        block = self._parts.add(number, flags, payload)
        if block is not None:
            self._take_head(self._parts.flags, number, block)

    def _take_head(self, flags: int, number: int, block: bytes) -> None:
        """A whole header block: a new stream, or the trailers of one."""
        if number <= self.last:
            self._take_trailers(flags, number, block)
            return
        self.last = number
        head = self._heads.read(block)
        if number > self.final:
            return
        if head.malformed:
            raise StreamFault(number, h2.PROTOCOL_ERROR)
        if len(self.streams) >= self._limits.streams or self._out.queued > self._limits.queued_bytes:
            raise StreamFault(number, h2.REFUSED_STREAM)
        stream = self.streams[number] = self._open(number, head)
        stream.half_closed = bool(flags & h2.END_STREAM)
        stream.opened()
        if stream.half_closed and number in self.streams:
            stream.finished()

    def _take_trailers(self, flags: int, number: int, block: bytes) -> None:
        """Trailers end a request, and say nothing that matters here."""
        clean = self._heads.skip(block)
        stream = self.streams.get(number)
        if stream is None:
            if number in self._reset:
                return
            raise ConnectionFault(h2.STREAM_CLOSED, "HEADERS on a stream that is closed")
        if stream.half_closed:
            raise StreamFault(number, h2.STREAM_CLOSED)
        if not flags & h2.END_STREAM or not clean:
            raise StreamFault(number, h2.PROTOCOL_ERROR)
        stream.half_closed = True
        stream.finished()

    def _take_reset(self, flags: int, number: int, payload: bytes) -> None:
        """RST_STREAM (section 6.4): the caller has gone."""
        h2.number(payload)
        stream = self.streams.get(number)
        if stream is None:
            self._check_known(number)
            self.account.spend(costs.CONTROL_COST)
            return
        self.account.spend(costs.RESET_COST)
        self.lose(stream)

    def _take_update(self, flags: int, number: int, payload: bytes) -> None:
        """WINDOW_UPDATE (section 6.9)."""
        self.account.spend(costs.CONTROL_COST)
        size = h2.number(payload) & 0x7FFFFFFF
        if number:
            stream = self.streams.get(number)
            if stream is None:
                self._check_known(number)
                return
            if not size:
                raise StreamFault(number, h2.PROTOCOL_ERROR)
            self._out.widen(size, stream)
        elif size:
            self._out.widen(size)
        else:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "a window update of nothing")

    def _stray(self, number: int) -> None:
        """DATA on a stream that takes none."""
        self._check_known(number)
        if number not in self._reset:
            raise StreamFault(number, h2.STREAM_CLOSED)
        self.account.spend(costs.CRUMB_COST)

    def _check_known(self, number: int) -> None:
        """A stream that is not open must have been."""
        if not number & 1 or number > self.last:
            raise ConnectionFault(h2.PROTOCOL_ERROR, "the stream was never opened")


Take = Callable[[Inflow, int, int, bytes], None]
_TAKE: dict[int, Take] = {
    h2.DATA: Inflow._take_data,
    h2.HEADERS: Inflow._take_headers,
    h2.PRIORITY: lambda inflow, *frame: inflow.peer.take_priority(*frame),
    h2.RST_STREAM: Inflow._take_reset,
    h2.SETTINGS: lambda inflow, *frame: inflow.peer.take_settings(*frame),
    h2.PUSH_PROMISE: lambda inflow, *frame: inflow.peer.take_push(*frame),
    h2.PING: lambda inflow, *frame: inflow.peer.take_ping(*frame),
    h2.GOAWAY: lambda inflow, *frame: inflow.peer.take_goaway(*frame),
    h2.WINDOW_UPDATE: Inflow._take_update,
    h2.CONTINUATION: Inflow._take_continuation,
}
_UNKNOWN: Take = lambda inflow, *frame: inflow.peer.take_unknown(*frame)  # noqa: E731
