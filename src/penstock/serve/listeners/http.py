"""Stage 4, serve: HTTP/1.1 on a socket: a connection's requests answered in order, its times, and how it ends.

    socket -> HttpInflow -> Call -> Flow.handle -> Reply -> slot of its request -> one write a turn
           `-> a head that is known: with its whole turn (penstock.serve.express) ---^

Pipelined requests are answered in order. Time is watched by one sweep a second over all connections, not by a timer
each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import suppress
from time import monotonic, perf_counter

from penstock.errors import InvalidInput, NotReady, PenstockError
from penstock.serve.calls import Call, Parts, Reply
from penstock.serve.express import Failure
from penstock.serve.flow import Flow
from penstock.serve.listeners.heads import Head, Heads
from penstock.serve.listeners.http_inflow import HttpInflow
from penstock.serve.listeners.http_slots import QuickSlot, Slot, is_ready, more_parts, whole_answer
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.listeners.presence import LOOK_S, ask, is_gone
from penstock.serve.refusals import refuse
from penstock.serve.turn import LoopTurn

LINGER_S = 1.0
LINGER_BYTES = 4 << 20
"""How long, and for how much, a refused client is listened to before its connection ends."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpState:
    """What the connections of one listener share.

    Attributes:
        closing: Every connection is let go after its next answer.
    """

    def __init__(self, flow: Flow, turn: LoopTurn, limits: HttpLimits) -> None:
        self.flow = flow
        self.turn = turn
        self.limits = limits
        self.closing = False
        self.heads = Heads()
        self.connections: set[HttpConnection] = set()

    def connect(self) -> HttpConnection:
        """A new connection."""
        return HttpConnection(self)

    def leave(self) -> None:
        """Nothing more: whoever is answered is told to go, whoever asks nothing is closed."""


class HttpConnection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_descriptor", "_inflow", "_limits", "_paused", "_poured", "_sending", "_slots", "_state", "_stuck_bytes",
        "_stuck_since", "_transport", "_writable",
    )  # fmt: skip

    def __init__(self, state: HttpState) -> None:
        self._state = state
        self._limits = state.limits
        self._inflow = HttpInflow(state.limits, state.heads, self)
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        self._slots: deque[Slot] = deque()
        self._sending = False
        self._paused = False
        self._writable = True
        self._stuck_since = 0.0
        self._stuck_bytes = 0
        self._poured = 0

    # -- the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = transport  # type: ignore[assignment]
        socket = transport.get_extra_info("socket")
        self._descriptor = socket.fileno() if socket is not None else -1
        self._state.connections.add(self)
        if len(self._state.connections) > self._limits.connections:
            self.refuse(NotReady("too many connections", "close some"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it still waits for need not start."""
        self._state.connections.discard(self)
        self._transport = None
        for slot in self._slots:
            if slot.job is not None:
                slot.job.cancel()
        self._slots.clear()
        self._inflow.end()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        inflow = self._inflow
        if inflow.stopped:
            self._pour_away(len(data))
            return
        if inflow.between:
            known = self._state.heads.find(data)
            if known is not None:
                inflow.since = monotonic()
                self._ask_again(known, data)
                return
        inflow.read(data)

    def eof_received(self) -> bool:
        """The client sends no more; it may still read its answers, or be gone."""
        self._inflow.stopped = True
        if self._slots and self._transport is not None and self._inflow.knows_chunks():
            asyncio.get_running_loop().call_later(LOOK_S, self._ask_whether_gone)
        return bool(self._slots)

    def _ask_whether_gone(self) -> None:
        """It was not answered at once."""
        if self._transport is not None:
            ask(self._transport)
            asyncio.get_running_loop().call_later(LOOK_S, self._let_go_if_gone)

    def _let_go_if_gone(self) -> None:
        """What a client that has gone waits for need not run."""
        if self._transport is not None and is_gone(self._transport):
            self._transport.abort()

    def pause_writing(self) -> None:
        """The client reads slower than we write: read no more of it meanwhile."""
        self._writable = False
        self._stuck_since = monotonic()
        parts = self._streaming()
        if parts is not None:
            parts.hold()
        if self._transport is not None:
            self._stuck_bytes = self._transport.get_write_buffer_size()
        self._pause_reading()

    def resume_writing(self) -> None:
        """It caught up."""
        self._writable = True
        self._go_on_reading()
        parts = self._streaming()
        if parts is not None:
            parts.go_on()

    # -- its receiving half's side

    def ask(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, *, keep_alive: bool = True) -> None:
        """Hand a whole request over, and keep its place in the order of answers."""
        slot = Slot(close=self._state.closing or not keep_alive, head_only=method == "HEAD")
        self._place(slot)
        call = Call(method, path, headers, body, time.time(), perf_counter())
        job = self._state.flow.handle(call, lambda reply: self._fill(slot, reply))
        if slot.reply is None:
            slot.job = job

    def expected(self) -> None:
        """Say that a body is welcome."""
        if self._transport is not None:
            self._transport.write(_CONTINUE)

    def refuse(self, error: PenstockError) -> None:
        """Answer what came so far with a refusal, after the answers before it, and close."""
        if self._inflow.stopped:
            return
        slot = Slot(close=True, head_only=False, linger=True)
        self._slots.append(slot)
        self.stop_reading()
        self._inflow.forget()
        self._fill(slot, refuse(error))

    def stop_reading(self) -> None:
        """Whatever follows is no request."""
        self._inflow.stopped = True
        self._pause_reading()

    # -- requests whose head is known

    def _ask_again(self, head: Head, data: bytes) -> None:
        """Hand over a request whose head was here before: with its whole turn, where it is usual."""
        body = data[len(head.raw) :]
        ticket = head.ticket
        if ticket is None or ticket.epoch is not self._state.flow.board.epoch:
            call = Call(head.method, head.path, head.headers, b"", time.time(), 0.0)
            ticket = head.ticket = self._state.flow.ticket(call)
        if ticket.express is None or self._state.closing:
            self.ask(head.method, head.path, head.headers, body)
            return
        slot = QuickSlot(self, head, body, ticket)
        self._place(slot)
        ticket.express.take(slot)

    def handle(self, slot: QuickSlot, head: Head, body: bytes) -> None:
        """A request that was not usual after all."""
        call = Call(head.method, head.path, head.headers, body, time.time(), slot.started)
        job = self._state.flow.handle(call, lambda reply: self._fill(slot, reply))
        if slot.reply is None:
            slot.job = job

    def fail(self, slot: QuickSlot, head: Head, failure: Failure) -> None:
        """A usual request was refused by its model."""
        call = Call(head.method, head.path, head.headers, slot.body, failure.received_at, slot.started)
        self._state.flow.fail(call, failure, lambda reply: self._fill(slot, reply))

    def _place(self, slot: Slot) -> None:
        self._slots.append(slot)
        if slot.close:
            self.stop_reading()
        elif len(self._slots) >= self._limits.pipelined:
            self._pause_reading()

    # -- answers

    def send(self) -> None:
        """Write every answer that is next in order."""
        self._sending = False
        parts: list[bytes] = []
        close = linger = False
        slots = self._slots
        while slots and is_ready(slots[0]) and not close:
            slot = slots[0]
            if slot.reply is not None and slot.reply.parts is not None:
                chunked = self._inflow.knows_chunks()
                if not more_parts(slot, parts, chunked=chunked, closing=self._state.closing):
                    break
            slots.popleft()
            close = slot.close or self._state.closing
            linger = slot.linger
            parts.append(whole_answer(slot, close=close))
        transport = self._transport
        if transport is None:
            return
        if parts:
            self._inflow.since = monotonic()
            transport.write(b"".join(parts))
        if linger:
            self._linger(transport)
        elif close or (self._inflow.stopped and not slots):
            transport.close()
        elif self._paused:
            self._go_on_reading()

    def _streaming(self) -> Parts | None:
        """The answer that is just being sent, where it comes in parts."""
        reply = self._slots[0].reply if self._slots else None
        return reply.parts if reply is not None else None

    def busy(self) -> int:
        """Requests that wait for an answer, one that is still coming included."""
        return len(self._slots) + (self._inflow.in_body or self._inflow.head_bytes > 0)

    def close_if_idle(self) -> None:
        """Close when nothing is being asked."""
        if self._transport is not None and not self.busy():
            self._transport.close()

    def check(self, now: float) -> None:
        """Close when the client is too slow in sending, or in reading."""
        limits, inflow, transport = self._limits, self._inflow, self._transport
        if transport is None:
            return
        if not self._writable:
            size = transport.get_write_buffer_size()
            if size < self._stuck_bytes:
                self._stuck_since, self._stuck_bytes = now, size
            elif now - self._stuck_since > limits.read_s:
                transport.abort()
            return
        if inflow.stopped:
            self._let_go_if_gone()
        waited = now - inflow.since
        if inflow.in_body:
            if waited > limits.body_s and inflow.body_bytes < limits.body_bytes_s * waited:
                self.refuse(_slow())
        elif inflow.head_bytes:
            if waited > limits.head_s:
                self.refuse(_slow())
        elif not self._slots and waited > limits.idle_s:
            transport.close()

    def _fill(self, slot: Slot, reply: Reply) -> None:
        """An answer is there; it leaves at the end of the turn."""
        slot.reply = reply
        if reply.parts is None:
            slot.job = None
        else:
            reply.parts.attach(lambda: self._more(slot))
        if not self._sending and self._slots and is_ready(self._slots[0]):
            self._sending = True
            self._state.turn.add(self)

    def _more(self, slot: Slot) -> None:
        """Another part is there."""
        if not self._sending and self._slots and self._slots[0] is slot:
            self._sending = True
            self._state.turn.add(self)

    def answered(self, slot: QuickSlot) -> None:
        """An answer of a turn is there, and its log is written: it leaves at once, if no other comes before it."""
        slots = self._slots
        usual = not (self._state.closing or self._inflow.stopped or self._paused)
        if usual and len(slots) == 1 and slots[0] is slot and self._transport is not None:
            slots.popleft()
            self._write(self._transport, slot.data)
        elif not self._sending and slots and is_ready(slots[0]):
            self._sending = True
            self._state.turn.add(self)

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write now, where nothing waits to be written before it; the transport would do so at the end of the turn."""
        if self._descriptor >= 0 and not transport.get_write_buffer_size() and not transport.is_closing():
            with suppress(OSError):  # it is full, or broken: the transport knows what to do then
                data = data[os.write(self._descriptor, data) :]
            if not data:
                return
        transport.write(data)

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close gently: a client that is still sending would otherwise be reset before it has read the refusal.

        RFC 9112, section 9.6: half-close, read and throw away for a moment, then close.
        """
        transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, transport.close)

    def _pour_away(self, size: int) -> None:
        """Bytes that nobody wants any more; too many of them end it."""
        self._poured += size
        if self._poured > LINGER_BYTES and self._transport is not None:
            self._transport.abort()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _go_on_reading(self) -> None:
        """Read again, once the client reads and few enough requests wait."""
        wanted = self._writable and not self._inflow.stopped and len(self._slots) < self._limits.pipelined
        if wanted and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()


def _slow() -> InvalidInput:
    return InvalidInput("the request came too slowly", "send it in one go", code="serve.slow")
