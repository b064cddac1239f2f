"""Stage 4, serve: the kinds of gRPC streams: a request with its answer, a stream of both, one that is watched.

DATA -> messages, bounded before they are whole -> Call -> Flow.handle -> Reply -> DATA and trailers

Whoever resets a stream, or goes, has its jobs cancelled; what is late is answered DEADLINE_EXCEEDED.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic, perf_counter, time
from typing import NamedTuple, Protocol

from penstock.errors import DeadlineExceeded, InvalidInput, NotReady, Overloaded, PenstockError
from penstock.serve.encodings import decompressed
from penstock.serve.flow import Flow
from penstock.serve.lane import Job
from penstock.serve.listeners import grpc_wire
from penstock.serve.listeners.http2 import Http2Connection
from penstock.serve.listeners.http2_heads import RequestHead
from penstock.serve.listeners.http2_limits import Http2Limits
from penstock.serve.listeners.http2_stream import Http2Stream
from penstock.serve.protocol import Call, Reply
from penstock.serve.service import CONTENT_TYPE, INTERNAL, METHOD, Rpc, refuse_rpc, timeout_s

POLL_S = 0.05
"""How often it is looked whether a watched answer is another one."""


class Plan(NamedTuple):
    """What a request's head says, worked out once for all requests that have it.

    Attributes:
        rpc: None where there is nothing to call.
        refusal: The only block of the answer then.
        gzip: Messages may be compressed.
    """

    rpc: Rpc | None
    refusal: bytes = b""
    gzip: bool = False


class GrpcStream(Http2Stream):
    """What all kinds share: messages in, and the ways to end.

    Args:
        connection: Whose stream it is.
        number: The stream's.
        head: Of its request.
        limits: Of a connection.
        flow: Answers calls.
    """

    __slots__ = ("_connection", "_flow", "_limits", "_parts", "_plan", "over")

    def __init__(
        self, connection: Http2Connection, number: int, head: RequestHead, *, limits: Http2Limits, flow: Flow
    ) -> None:
        super().__init__(number, head, window=connection.out.initial, credit=limits.stream_bytes)
        self._connection = connection
        self._limits = limits
        self._flow = flow
        self._plan: Plan = head.plan  # type: ignore[assignment]
        self._parts: list[bytes] = []
        self.over = False

    def received(self, data: bytes) -> None:
        """Keep it until the message is whole, if it is not too much."""
        if self.over or not data:
            return
        if not self.incoming:
            self.since = monotonic()
        self._parts.append(data)
        self.incoming += len(data)
        self._connection.held += len(data)
        if self.incoming == len(data) or self.incoming < 64:
            head = data if len(data) >= grpc_wire.PREFIX_BYTES else b"".join(self._parts)
            if int.from_bytes(head[1:5], "big") > self._limits.message_bytes:
                self.refuse(_too_large(self._limits.message_bytes))
                return
        if self._connection.held > self._limits.held_bytes:
            self.refuse(Overloaded("too much is under way on this connection", "send fewer large messages at once"))

    def taken(self) -> bytes:
        """What has come and was not taken yet."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._connection.held -= self.incoming
        self.incoming = 0
        return data

    def lost(self) -> None:
        """Nobody waits any more."""
        self.over = True
        self._connection.held -= self.incoming
        self.incoming = 0
        self._parts = []

    def refuse(self, error: PenstockError) -> None:
        """End it with an error."""
        self.end_with(refuse_rpc(error))

    def end_with(self, reply: Reply) -> None:
        """End it with a refusal, whatever else was under way."""
        if not self.over:
            self._end(grpc_wire.refused_alone(grpc_wire.refusal(reply)))

    def _end(self, block: bytes) -> None:
        """Send the last block."""
        GrpcStream.lost(self)
        self._connection.out.end(self, grpc_wire.ending(self.id, block))

    def check(self, now: float) -> None:
        """A message that has begun has to go on coming."""
        waited = now - self.since
        if self.incoming and waited > self._limits.body_s and self.incoming < self._limits.body_bytes_s * waited:
            self.refuse(InvalidInput("the message came too slowly", "send it in one go", code="serve.slow"))

    def _unpacked(self, data: bytes) -> bytes:
        """A message without its prefix.

        Raises:
            InvalidInput: It is damaged, or too large once unpacked.
            ValueError: It says that it is compressed, and the head does not.
        """
        if not data[0]:
            return data[grpc_wire.PREFIX_BYTES :]
        if data[0] != 1 or not self._plan.gzip:
            raise ValueError("a message is compressed and grpc-encoding does not say how")
        return decompressed(data[grpc_wire.PREFIX_BYTES :], b"gzip", self._limits.message_bytes)

    def _ask(self, message: bytes, answer: Answer) -> Job | None:
        """Hand a whole message over."""
        rpc = self._plan.rpc
        if rpc is None:
            return None
        call = Call(METHOD, rpc.path(message), self.head.headers, message, time(), perf_counter())
        return self._flow.handle(call, answer)


class Answer(Protocol):
    """Takes a reply."""

    def __call__(self, reply: Reply) -> None:
        """Take it."""


class RefusedStream(GrpcStream):
    """A call of nothing that there is."""

    __slots__ = ()

    def opened(self) -> None:
        """Say so."""
        self._end(self._plan.refusal)


class OnceStream(GrpcStream):
    """One request, one response."""

    __slots__ = ("_job",)

    def opened(self) -> None:
        """Nothing has come yet."""
        self._job: Job | None = None

    def finished(self) -> None:
        """The request is whole: ask."""
        if self.over:
            return
        data = self.taken()
        if len(data) < grpc_wire.PREFIX_BYTES or len(data) - 5 != int.from_bytes(data[1:5], "big"):
            self.refuse(InvalidInput("a call has exactly one request message", "send it whole", code="input.malformed"))
            return
        try:
            message = self._unpacked(data)
        except PenstockError as error:
            self.refuse(error)
        except ValueError as error:
            self.end_with(Reply(INTERNAL, str(error).encode(), CONTENT_TYPE))
        else:
            job = self._ask(message, self.answer)
            if not self.over:
                self._job = job

    def check(self, now: float) -> None:
        """Its request has to come, even when nothing of it is here yet."""
        if not self.half_closed and not self.incoming and now - self.since > self._limits.body_s:
            self.refuse(InvalidInput("the message came too slowly", "send it in one go", code="serve.slow"))
        super().check(now)

    def answer(self, reply: Reply) -> None:
        """Send the response and the trailers."""
        if self.over:
            return
        if reply.status or reply.content_type != CONTENT_TYPE:
            self.end_with(reply)
            return
        out, size = self._connection.out, len(reply.body) + grpc_wire.PREFIX_BYTES
        self.over = True
        if size <= self.window and size <= out.window and size <= out.frame_bytes:
            out.window -= size
            out.end(self, grpc_wire.whole(self.id, reply.body, reply.headers))
            return
        out.put(grpc_wire.head(self.id))
        out.data(self, grpc_wire.framed(reply.body))
        out.end(self, grpc_wire.ending(self.id, grpc_wire.trailers(reply.headers)))

    def lost(self) -> None:
        """Nobody waits any more: what has not started need not."""
        super().lost()
        if self._job is not None:
            self._job.cancelled = True


class Slot:
    """A request's place in the order of a stream's answers."""

    __slots__ = ("job", "reply")

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.job: Job | None = None


class LastingStream(GrpcStream):
    """A stream that may answer more than once."""

    __slots__ = ("_begun", "_late", "_leaving")

    def opened(self) -> None:
        """Watch the time, if the client does."""
        self._begun = self._leaving = False
        self._late: asyncio.TimerHandle | None = None
        given = self.head.headers.get(b"grpc-timeout")
        if given is not None:
            error = DeadlineExceeded("the time budget of the stream ran out", "open it again")
            self._late = asyncio.get_running_loop().call_later(timeout_s(given), self.refuse, error)

    def say(self, message: bytes) -> None:
        """Send a message."""
        out = self._connection.out
        if not self._begun:
            self._begun = True
            out.put(grpc_wire.head(self.id))
        out.data(self, grpc_wire.framed(message))

    def _end(self, block: bytes) -> None:
        if self._begun:
            block = block.removeprefix(grpc_wire.HEAD_BLOCK)
        if self._late is not None:
            self._late.cancel()
        super()._end(block)

    def lost(self) -> None:
        """Nobody waits any more."""
        super().lost()
        if self._late is not None:
            self._late.cancel()

    def _go(self) -> None:
        """The server leaves."""
        self.refuse(NotReady("this server goes", "open the stream again", code="serve.leaving"))


class EachStream(LastingStream):
    """A stream of requests, each with a response, in their order."""

    __slots__ = ("_rest", "_slots")

    def opened(self) -> None:
        """Begin the answer: the client sees that it is heard."""
        super().opened()
        self._rest = b""
        self._slots: deque[Slot] = deque()
        self._begun = True
        self._connection.out.put(grpc_wire.head(self.id))

    def received(self, data: bytes) -> None:
        """Take every message that is whole, as long as not too many wait."""
        super().received(data)
        if not self.over:
            self._take()

    def finished(self) -> None:
        """No more requests come."""
        if not self.over:
            self._take()
            self._end_if_done()

    def welcome(self) -> bool:
        """Not while answers wait."""
        return len(self._slots) < self._limits.messages

    def leave(self) -> None:
        """Answer what has come, then end."""
        self._leaving = True
        self._end_if_done()

    def lost(self) -> None:
        """Nobody waits any more: what has not started need not."""
        super().lost()
        for slot in self._slots:
            if slot.job is not None:
                slot.job.cancelled = True
        self._slots.clear()

    def _take(self) -> None:
        """Ask with each whole message."""
        if not self.incoming:
            return
        since, data, at = self.since, self.taken(), 0
        while len(data) - at >= grpc_wire.PREFIX_BYTES and not self.over and self.welcome():
            size = int.from_bytes(data[at + 1 : at + 5], "big")
            end = at + grpc_wire.PREFIX_BYTES + size
            if size > self._limits.message_bytes:
                self.refuse(_too_large(self._limits.message_bytes))
                return
            if end > len(data):
                break
            self._ask_with(data[at:end])
            at = end
        if at < len(data) and not self.over:
            self._parts = [data[at:]]
            self.incoming = len(data) - at
            self._connection.held += self.incoming
            self.since = since if not at else monotonic()

    def _ask_with(self, data: bytes) -> None:
        slot = Slot()
        self._slots.append(slot)
        try:
            message = self._unpacked(data)
        except PenstockError as error:
            self._fill(slot, refuse_rpc(error))
        except ValueError as error:
            self.end_with(Reply(INTERNAL, str(error).encode(), CONTENT_TYPE))
        else:
            job = self._ask(message, lambda reply: self._fill(slot, reply))
            if slot.reply is None:
                slot.job = job

    def _fill(self, slot: Slot, reply: Reply) -> None:
        """Send every answer that is next in order."""
        slot.reply, slot.job = reply, None
        while self._slots and not self.over and self._slots[0].reply is not None:
            self._send(self._slots.popleft().reply)
        if not self.over:
            self._take()
            self._end_if_done()
            self._connection.inflow.invite(self)

    def _send(self, reply: Reply | None) -> None:
        wrap = self._plan.rpc.wrap if self._plan.rpc else None
        if reply is None:
            return
        if wrap is not None:
            self.say(wrap(reply))
        elif reply.status:
            self.end_with(reply)
        else:
            self.say(reply.body)

    def _end_if_done(self) -> None:
        if self._slots or self.over:
            return
        if self.half_closed and self.incoming:
            self.refuse(InvalidInput("the last message is not whole", "send it whole", code="input.malformed"))
        elif self.half_closed:
            self._end(grpc_wire.trailers(b""))
        elif self._leaving and not self.incoming:
            self._go()


class AnewStream(LastingStream):
    """One request, answered anew whenever the answer is another one."""

    __slots__ = ("_last", "_message", "_next")

    def opened(self) -> None:
        """Nothing has come yet."""
        super().opened()
        self._last: bytes | None = None
        self._message = b""
        self._next: asyncio.TimerHandle | None = None

    def finished(self) -> None:
        """The request is whole: answer, and go on looking."""
        if self.over:
            return
        data = self.taken()
        if len(data) < grpc_wire.PREFIX_BYTES or len(data) - 5 != int.from_bytes(data[1:5], "big"):
            self.refuse(InvalidInput("a call has exactly one request message", "send it whole", code="input.malformed"))
            return
        try:
            self._message = self._unpacked(data)
        except (PenstockError, ValueError):
            self.refuse(InvalidInput("the message cannot be unpacked", "send it plain", code="input.malformed"))
        else:
            self._look()

    def leave(self) -> None:
        """Say how it is a last time, and end."""
        if self._next is not None:
            self._next.cancel()
            self._look()
        if not self.over:
            self._go()

    def lost(self) -> None:
        """Nobody waits any more."""
        super().lost()
        if self._next is not None:
            self._next.cancel()

    def _look(self) -> None:
        self._ask(self._message, self._tell)
        if not self.over:
            self._next = asyncio.get_running_loop().call_later(POLL_S, self._look)

    def _tell(self, reply: Reply) -> None:
        wrap = self._plan.rpc.wrap if self._plan.rpc else None
        if wrap is None and reply.status:
            self.end_with(reply)
            return
        said = wrap(reply) if wrap else reply.body
        if said != self._last and not self.over:
            self._last = said
            self.say(said)


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(f"the message is larger than {limit} bytes", "send fewer rows", code="serve.too_large")
