"""Stage 4, serve: HTTP/1.1 on a socket: bytes to calls, replies to bytes, and every limit in between.

    socket -> llhttp (strict) -> limits -> Call -> Flow.handle -> Reply -> slot of its request -> one write a turn

A framing that two parsers could read in two ways (both lengths, two lengths, a bare line feed) is refused and the
connection closed. Pipelined requests are answered in order. Time is watched by one sweep a second over all
connections, not by a timer each.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from time import monotonic, perf_counter
from urllib.parse import unquote

import httptools

from penstock.errors import InvalidInput, NotReady, PenstockError
from penstock.serve.calls import QUERY, Call, Parts, Reply
from penstock.serve.encodings import decompressed
from penstock.serve.express import Failure, Ticket
from penstock.serve.flow import Flow
from penstock.serve.lane import Job
from penstock.serve.listeners.heads import Head, Heads
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.listeners.presence import LOOK_S, ask, is_gone
from penstock.serve.protocol import QUERY, Call, Parts, Reply, refuse
from penstock.serve.turn import LoopTurn

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
LINGER_S = 1.0
LINGER_BYTES = 4 << 20
"""How long, and for how much, a refused client is listened to before its connection ends."""
PROBE_S = 0.05
"""A client that has sent its end and still waits after so long is asked whether it is there."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Slot:
    """A request's place in the order of answers."""

    __slots__ = ("close", "data", "head_only", "job", "linger", "reply")

    def __init__(self, *, close: bool, head_only: bool, linger: bool = False) -> None:
        self.close = close
        self.linger = linger
        self.head_only = head_only
        self.reply: Reply | None = None
        self.data = b""
        self.job: Job | None = None


class QuickSlot(Slot):
    """The place of a request whose head is known: all it needs to be answered with its whole turn.

    See `penstock.serve.express.Entry`.
    """

    __slots__ = ("_connection", "_head", "body", "started", "ticket")

    def __init__(self, connection: HttpConnection, head: Head, body: bytes, ticket: Ticket) -> None:
        self._connection = connection
        self._head = head
        self.body = body
        self.ticket = ticket
        self.started = perf_counter()
        self.close = self.linger = self.head_only = False
        self.reply = None
        self.data = b""
        self.job = None

    def predicted(self, own_id: str, lines: tuple[bytes, bytes], content: bytes) -> None:
        """See `Entry.predicted`."""
        first, last = lines
        self.data = b"HTTP/1.1 200 OK\r\n%bx-prediction-id: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
            first,
            own_id.encode(),
            last,
            len(content),
            content,
        )
        self._connection.answered(self)

    def unusual(self) -> None:
        """See `Entry.unusual`."""
        self._connection.handle(self, self._head, self.body)

    def failed(self, failure: Failure) -> None:
        """See `Entry.failed`."""
        self._connection.fail(self, self._head, failure)


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
        "_between", "_body", "_body_bytes", "_descriptor", "_fed", "_head_bytes", "_headers", "_in_body", "_limits",
        "_parser", "_paused", "_sending", "_since", "_slots", "_state", "_stopped", "_stuck_bytes", "_stuck_since",
        "_transport", "_url", "_writable",
    )  # fmt: skip

    def __init__(self, state: HttpState) -> None:
        self._state = state
        self._limits = state.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        self._slots: deque[Slot] = deque()
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._in_body = False
        self._between = True
        self._fed = b""
        self._since = monotonic()
        self._sending = False
        self._stopped = False
        self._paused = False
        self._writable = True
        self._stuck_since = 0.0
        self._stuck_bytes = 0

    # -- the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = transport  # type: ignore[assignment]
        socket = transport.get_extra_info("socket")
        self._descriptor = socket.fileno() if socket is not None else -1
        self._state.connections.add(self)
        if len(self._state.connections) > self._limits.connections:
            self._refuse(NotReady("too many connections", "close some"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: what it still waits for need not start."""
        self._state.connections.discard(self)
        self._stopped = True
        self._transport = None
        for slot in self._slots:
            if slot.job is not None:
                slot.job.cancel()
        self._slots.clear()
        # Parser and connection hold each other: without this a body that was refused would stay until the collector
        # comes by, which it does by the number of objects and not by their size.
        self._body = []
        del self._parser

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._stopped:
            self._pour_away(len(data))
            return
        if not self._in_body:
            if not self._head_bytes:
                self._since = monotonic()
                known = self._state.heads.find(data) if self._between else None
                if known is not None:
                    self._ask_again(known, data)
                    return
            self._head_bytes += len(data)
        self._fed = data if self._between else b""
        self._between = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here is upgraded; the request itself was handled.
            self._stop_reading()
        except httptools.HttpParserError:
            if not self._stopped:
                self._refuse(InvalidInput("this is not HTTP/1.1", "see RFC 9112", code="input.http"))
        if not self._in_body and self._head_bytes > self._limits.head_bytes and not self._stopped:
            self._refuse(_too_much_head())

    def eof_received(self) -> bool:
        """The client sends no more; it may still read its answers, or be gone."""
        self._stopped = True
        if self._slots and self._transport is not None and self._parser.get_http_version() != "1.0":
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
        self._stop_reading(finally_=False)

    def resume_writing(self) -> None:
        """It caught up."""
        self._writable = True
        self._go_on_reading()
        parts = self._streaming()
        if parts is not None:
            parts.go_on()

    # -- the parser's side

    def on_message_begin(self) -> None:
        """A request line starts."""
        self._between = False
        self._url = b""
        self._headers = {}
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the framing ones must be alone."""
        name = name.lower()
        headers = self._headers
        if name in headers:
            if name in (b"content-length", b"transfer-encoding", b"host", b"authorization"):
                self._refuse(InvalidInput("a header is given twice", "send it once", where=f"headers.{name.decode()}"))
            value = headers[name] + b"," + value
        headers[name] = value
        if len(headers) > self._limits.headers:
            self._refuse(_too_much_head())

    def on_headers_complete(self) -> None:
        """All headers are here: refuse what can be refused before a byte of body."""
        if self._stopped:
            return
        headers = self._headers
        self._in_body = True
        self._since = monotonic()
        if self._head_bytes > self._limits.head_bytes and len(self._url) + _size(headers) > self._limits.head_bytes:
            self._refuse(_too_much_head())
            return
        self._check_framing(headers)
        if b"expect" in headers and not self._stopped and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._stopped:
            return
        self._body_bytes += len(data)
        if self._body_bytes > self._limits.body_bytes:
            self._refuse(_too_large(self._limits.body_bytes))
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._in_body = False
        self._head_bytes = 0
        if self._stopped:
            return
        method, path, headers = self._parser.get_method().decode(), _path(self._url), self._headers
        if b"?" in self._url:
            headers[QUERY] = self._url.partition(b"?")[2]
        close = self._state.closing or not self._parser.should_keep_alive()
        if not close:
            # More may follow in the same bytes: then it is not alone, and is not kept.
            self._between = True
            self._state.heads.keep(self._fed, method, path, headers)
            self._fed = b""
        try:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            if b"content-encoding" in headers:
                body = decompressed(body, headers[b"content-encoding"], self._limits.body_bytes)
        except PenstockError as error:
            self._refuse(error)
            return
        self._ask(method, path, headers, body, close=close)

    def _ask(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, *, close: bool) -> None:
        """Hand a whole request over, and keep its place in the order of answers."""
        slot = Slot(close=close, head_only=method == "HEAD")
        self._place(slot)
        call = Call(method, path, headers, body, time.time(), perf_counter())
        job = self._state.flow.handle(call, lambda reply: self._fill(slot, reply))
        if slot.reply is None:
            slot.job = job

    def _ask_again(self, head: Head, data: bytes) -> None:
        """Hand over a request whose head was here before: with its whole turn, where it is usual."""
        body = data[len(head.raw) :]
        ticket = head.ticket
        if ticket is None or ticket.epoch is not self._state.flow.board.epoch:
            call = Call(head.method, head.path, head.headers, b"", time.time(), 0.0)
            ticket = head.ticket = self._state.flow.ticket(call)
        if ticket.express is None or self._state.closing:
            self._ask(head.method, head.path, head.headers, body, close=self._state.closing)
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
        if slot.close or len(self._slots) >= self._limits.pipelined:
            self._stop_reading(finally_=slot.close)

    # -- answers

    def send(self) -> None:
        """Write every answer that is next in order."""
        self._sending = False
        parts: list[bytes] = []
        close = linger = False
        slots = self._slots
        while slots and _ready(slots[0]) and not close:
            slot = slots[0]
            if slot.reply is not None and slot.reply.parts is not None and not self._stream(slot, slot.reply, parts):
                break
            slots.popleft()
            close = slot.close or self._state.closing
            linger = slot.linger
            parts.append(_bytes_of(slot, close=close))
        transport = self._transport
        if transport is None:
            return
        if parts:
            self._since = monotonic()
            transport.write(b"".join(parts))
        if linger:
            self._linger(transport)
        elif close or (self._stopped and not slots):
            transport.close()
        elif self._paused:
            self._go_on_reading()

    def _stream(self, slot: Slot, reply: Reply, out: list[bytes]) -> bool:
        """What has come of an answer in parts; whether that was the last of it."""
        parts = reply.parts
        if parts is None:
            return True
        chunked = self._parser.get_http_version() != "1.0"
        if not parts.begun:
            parts.begun = True
            close = _CLOSE if slot.close or self._state.closing or not chunked else b""
            slot.close = bool(close)
            out.append(_head(reply, b"transfer-encoding: chunked\r\n" if chunked else b"", close))
        data, last = parts.read()
        if data:
            out.append(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        if last and chunked:
            out.append(b"0\r\n\r\n")
        return last

    def _streaming(self) -> Parts | None:
        """The answer that is just being sent, where it comes in parts."""
        reply = self._slots[0].reply if self._slots else None
        return reply.parts if reply is not None else None

    def busy(self) -> int:
        """Requests that wait for an answer, one that is still coming included."""
        return len(self._slots) + (self._in_body or self._head_bytes > 0)

    def close_if_idle(self) -> None:
        """Close when nothing is being asked."""
        if self._transport is not None and not self.busy():
            self._transport.close()

    def check(self, now: float) -> None:
        """Close when the client is too slow in sending, or in reading."""
        limits, transport = self._limits, self._transport
        if transport is None:
            return
        if not self._writable:
            size = transport.get_write_buffer_size()
            if size < self._stuck_bytes:
                self._stuck_since, self._stuck_bytes = now, size
            elif now - self._stuck_since > limits.read_s:
                transport.abort()
            return
        if self._stopped:
            self._let_go_if_gone()
        waited = now - self._since
        if self._in_body:
            if waited > limits.body_s and self._body_bytes < limits.body_bytes_s * waited:
                self._refuse(_slow())
        elif self._head_bytes:
            if waited > limits.head_s:
                self._refuse(_slow())
        elif not self._slots and waited > limits.idle_s:
            transport.close()

    def _fill(self, slot: Slot, reply: Reply) -> None:
        """An answer is there; it leaves at the end of the turn."""
        slot.reply = reply
        if reply.parts is None:
            slot.job = None
        else:
            reply.parts.attach(lambda: self._more(slot))
        if not self._sending and self._slots and _ready(self._slots[0]):
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
        usual = not (self._state.closing or self._stopped or self._paused)
        if usual and len(slots) == 1 and slots[0] is slot and self._transport is not None:
            slots.popleft()
            self._write(self._transport, slot.data)
        elif not self._sending and slots and _ready(slots[0]):
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

    def _refuse(self, error: PenstockError) -> None:
        """Answer what came so far with a refusal, after the answers before it, and close."""
        if self._stopped:
            return
        slot = Slot(close=True, head_only=False, linger=True)
        self._slots.append(slot)
        self._stop_reading()
        self._in_body = False
        self._head_bytes = 0
        self._body = []
        self._fill(slot, refuse(error))

    def _linger(self, transport: asyncio.Transport) -> None:
        """Close gently: a client that is still sending would otherwise be reset before it has read the refusal.

        RFC 9112, section 9.6: half-close, read and throw away for a moment, then close.
        """
        transport.write_eof()
        self._body_bytes = 0
        if self._paused:
            self._paused = False
            transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, transport.close)

    def _pour_away(self, size: int) -> None:
        """Bytes that nobody wants any more; too many of them end it."""
        self._body_bytes += size
        if self._body_bytes > LINGER_BYTES and self._transport is not None:
            self._transport.abort()

    def _stop_reading(self, *, finally_: bool = True) -> None:
        self._stopped = self._stopped or finally_
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _go_on_reading(self) -> None:
        """Read again, once the client reads and few enough requests wait."""
        wanted = self._writable and not self._stopped and len(self._slots) < self._limits.pipelined
        if wanted and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _check_framing(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what two parsers could read in two ways, and what is announced as too large."""
        if b"host" not in headers and self._parser.get_http_version() != "1.0":
            self._refuse(InvalidInput("there is no Host header", "send one", where="headers.host"))
        if b"transfer-encoding" not in headers:
            if int(headers.get(b"content-length", b"0")) > self._limits.body_bytes:
                self._refuse(_too_large(self._limits.body_bytes))
        elif b"content-length" in headers:
            self._refuse(InvalidInput("there are two lengths", "send Content-Length or chunks", code="input.http"))
        elif headers[b"transfer-encoding"].strip().lower() != b"chunked":
            self._refuse(InvalidInput("this transfer encoding is not spoken", "send chunked", code="input.http"))


def _ready(slot: Slot) -> bool:
    return bool(slot.data) or slot.reply is not None


def _bytes_of(slot: Slot, *, close: bool) -> bytes:
    reply = slot.reply
    if reply is None:
        return slot.data.replace(b"\r\n", b"\r\n" + _CLOSE, 1) if close else slot.data
    if reply.parts is not None:
        return b""
    return b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        reply.status,
        _REASONS.get(reply.status, b""),
        reply.content_type,
        reply.headers,
        _CLOSE if close else b"",
        len(reply.body),
        b"" if slot.head_only else reply.body,
    )


def _head(reply: Reply, framing: bytes, close: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b%b%b\r\n" % (
        reply.status,
        _REASONS.get(reply.status, b""),
        reply.content_type,
        reply.headers,
        close,
        framing,
    )


def _path(url: bytes) -> str:
    """The path of a request target, without its query."""
    path = url.partition(b"?")[0].decode("ascii", "replace")
    return unquote(path, errors="replace") if "%" in path else path


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        f"the body is larger than {limit} bytes", "send fewer rows", code="serve.too_large", where="body"
    )


def _too_much_head() -> InvalidInput:
    return InvalidInput("the headers are too large or too many", "send fewer", code="serve.headers_too_large")


def _slow() -> InvalidInput:
    return InvalidInput("the request came too slowly", "send it in one go", code="serve.slow")
