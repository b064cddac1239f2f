"""Stage 4, serve: HTTP/2 on a socket: a connection's two halves, its times, and how it ends.

    socket -> Inflow -> streams of a listener's kind (gRPC) -> Outflow -> one write a turn

Cleartext with prior knowledge alone. Time is watched by one sweep a second over all connections.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol, cast

from penstock.serve.listeners import http2_frames as h2
from penstock.serve.listeners.http2_frames import ConnectionFault
from penstock.serve.listeners.http2_heads import RequestHead
from penstock.serve.listeners.http2_inflow import Inflow
from penstock.serve.listeners.http2_limits import Http2Limits
from penstock.serve.listeners.http2_outflow import Outflow
from penstock.serve.listeners.http2_stream import Http2Stream
from penstock.serve.turn import LoopTurn

POURED_BYTES = 4 << 20
"""What a client that was sent away may still send before its connection is cut."""
LEAVE_S = 0.4
"""How long a client may take to read that we leave, before the last stream is named all the same."""
_LEAVING = b"leaving\0"
_ALIVE = b"alive?\0\0"


class Http2State(Protocol):
    """What the connections of one listener share."""

    turn: LoopTurn
    limits: Http2Limits
    connections: set[Http2Connection]

    @property
    def leaving(self) -> bool:
        """Whether new connections are told to leave, as the others were."""

    def stream(self, connection: Http2Connection, number: int, head: RequestHead) -> Http2Stream:
        """A stream of the listener's kind."""


class Http2Connection(asyncio.Protocol):
    """One client's connection.

    Attributes:
        out: Its sending half.
        inflow: Its receiving half.
        held: Bytes of messages that are not whole yet.
    """

    __slots__ = (
        "_asked_at", "_heard_at", "_leaving", "_limits", "_over", "_paused", "_poured", "_rest", "_rest_since",
        "_since", "_state", "_stuck_bytes", "_stuck_since", "held", "inflow", "out",
    )  # fmt: skip

    def __init__(self, state: Http2State) -> None:
        self._state = state
        self._limits = state.limits
        self._rest = b""
        self._since = self._heard_at = self._rest_since = monotonic()
        self._asked_at = 0.0
        self._leaving = self._over = self._paused = False
        self._poured = 0
        self._stuck_since = 0.0
        self._stuck_bytes = 0
        self.held = 0
        self.out = Outflow(state.turn, self._ended)
        self.inflow = Inflow(state.limits, self.out, self._open)

    # -- the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here: say what we take."""
        limits, out = self._limits, self.out
        out.transport = cast(asyncio.Transport, transport)
        self._state.connections.add(self)
        announced = {
            h2.MAX_CONCURRENT_STREAMS: limits.streams,
            h2.INITIAL_WINDOW_SIZE: limits.stream_bytes,
            h2.MAX_FRAME_SIZE: limits.frame_bytes,
            h2.MAX_HEADER_LIST_SIZE: limits.head_bytes,
        }
        out.put(h2.settings(announced) + h2.update(0, limits.window_bytes - h2.DEFAULT_WINDOW))
        if len(self._state.connections) > limits.connections:
            self._give_up(ConnectionFault(h2.ENHANCE_YOUR_CALM, "too many connections"))
        elif self._state.leaving:
            self.leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it still waits for need not start."""
        self._over = True
        self._state.connections.discard(self)
        self.out.transport = None
        self._lose_streams()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            self._pour_away(len(data))
            return
        self._heard_at = monotonic()
        if self._rest:
            data = self._rest + data
        try:
            used = self.inflow.read(data)
        except ConnectionFault as fault:
            self._give_up(fault)
            return
        if used == len(data):
            self._rest = b""
        elif used or not self._rest:
            self._rest, self._rest_since = data[used:], self._heard_at
        else:
            self._rest = data
        if self._leaving:
            self._leave_further()

    def eof_received(self) -> bool:
        """The client sends no more; what it has asked is still answered."""
        self._over = True
        for stream in list(self.inflow.streams.values()):
            if not stream.half_closed:
                self.inflow.lose(stream)
        return bool(self.inflow.streams)

    def pause_writing(self) -> None:
        """The client reads slower than we write: read no more of it meanwhile."""
        self.out.writable = False
        self._stuck_since = monotonic()
        transport = self.out.transport
        if transport is not None and not self._paused:
            self._stuck_bytes = transport.get_write_buffer_size()
            self._paused = True
            transport.pause_reading()

    def resume_writing(self) -> None:
        """It caught up."""
        self.out.writable = True
        transport = self.out.transport
        if transport is not None and self._paused:
            self._paused = False
            transport.resume_reading()
        self.out.pump()

    # -- what the door asks

    def busy(self) -> int:
        """Requests that wait for an answer, one that is still coming included; and a leave that was not yet read."""
        return len(self.inflow.streams) + bool(self._rest) + (self._leaving and not self._over)

    def close_if_idle(self) -> None:
        """Close when nothing is being asked."""
        if not self.busy() and not self.out.closing:
            self.out.put(h2.goaway(self.inflow.last, h2.NO_ERROR))
            self._close()

    def leave(self) -> None:
        """Open no more streams, finish those there are, and close (section 6.8).

        The first GOAWAY names no last stream, so that none that is under way is lost; the second comes after a round
        trip, when the client has read the first.
        """
        if self._leaving or self._over:
            return
        self._leaving = True
        self.out.put(h2.goaway(h2.MOST_WINDOW, h2.NO_ERROR) + h2.frame(h2.PING, 0, 0, _LEAVING))
        asyncio.get_running_loop().call_later(LEAVE_S, self._leave_further, True)
        for stream in list(self.inflow.streams.values()):
            stream.leave()

    def check(self, now: float) -> None:
        """Refill the account; end what is too slow."""
        limits, inflow, transport = self._limits, self.inflow, self.out.transport
        if transport is None or self.out.closing:
            return
        inflow.account.earn(limits.refill)
        if not self.out.writable:
            self._check_reader(now, transport)
            return
        waited = now - self._rest_since
        slow = self._rest and waited > limits.body_s and len(self._rest) < limits.body_bytes_s * waited
        if slow or (inflow.half_read() and now - inflow.half_since > limits.head_s):
            self._give_up(ConnectionFault(h2.ENHANCE_YOUR_CALM, "a frame came too slowly"))
        elif not inflow.peer.acknowledged and now - self._since > 2 * limits.head_s:
            self._give_up(ConnectionFault(h2.SETTINGS_TIMEOUT, "SETTINGS were not acknowledged"))
        elif self.out.is_stuck(now, limits.read_s):
            self._give_up(ConnectionFault(h2.ENHANCE_YOUR_CALM, "the window stayed shut"))
        else:
            self._check_streams(now)
            self._check_silence(now, transport)

    def _check_reader(self, now: float, transport: asyncio.Transport) -> None:
        """Cut off a client that reads nothing."""
        size = transport.get_write_buffer_size()
        if size < self._stuck_bytes:
            self._stuck_since, self._stuck_bytes = now, size
        elif now - self._stuck_since > self._limits.read_s:
            transport.abort()

    def _check_streams(self, now: float) -> None:
        """End streams whose message comes too slowly, or whose answer is not taken."""
        for stream in self.out.stuck(now, self._limits.read_s):
            self.inflow.reset(stream.id, h2.CANCEL)
        for stream in list(self.inflow.streams.values()):
            stream.check(now)

    def _check_silence(self, now: float, transport: asyncio.Transport) -> None:
        """Ask a silent client whether it lives; let one that asks nothing go."""
        silent = now - self._heard_at
        if not self.inflow.streams:
            if silent > self._limits.idle_s:
                self.leave()
        elif silent > 2 * self._limits.ping_s:
            transport.abort()
        elif silent > self._limits.ping_s and self._asked_at < self._heard_at:
            self._asked_at = now
            self.out.put(h2.frame(h2.PING, 0, 0, _ALIVE))

    # -- streams and ends

    def _open(self, number: int, head: RequestHead) -> Http2Stream:
        return self._state.stream(self, number, head)

    def _ended(self, stream: Http2Stream) -> None:
        """The last frame of a stream is out."""
        self.inflow.ended(stream)
        if self._leaving or self._over:
            self._leave_further()

    def _leave_further(self, certain: bool = False) -> None:
        """Name the last stream once the client knows that we leave; close after it."""
        inflow = self.inflow
        if self._leaving and inflow.final == h2.MOST_WINDOW and (certain or inflow.peer.pong == _LEAVING):
            inflow.final = inflow.last
            self.out.put(h2.goaway(inflow.last, h2.NO_ERROR))
        if not inflow.streams and (self._over or inflow.final != h2.MOST_WINDOW):
            self._close()

    def _give_up(self, fault: ConnectionFault) -> None:
        """Say why, and close."""
        self.out.put(h2.goaway(self.inflow.last, fault.code, str(fault)))
        self._lose_streams()
        self._close()

    def _close(self) -> None:
        self._over = True
        self._rest = b""
        self.out.close()
        if self._paused and self.out.transport is not None:
            self._paused = False
            self.out.transport.resume_reading()

    def _lose_streams(self) -> None:
        for stream in list(self.inflow.streams.values()):
            self.inflow.lose(stream)

    def _pour_away(self, size: int) -> None:
        """Bytes that nobody wants any more; too many of them end it."""
        self._poured += size
        if self._poured > POURED_BYTES and self.out.transport is not None:
            self.out.transport.abort()
