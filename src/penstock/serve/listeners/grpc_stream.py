"""Stage 4, serve: a gRPC call on a stream: one request message, one response; and what every kind of call shares.

DATA -> a message, bounded before it is whole -> Call -> Flow.handle -> Reply -> DATA and trailers

Whoever resets the stream, or goes, has its job cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, perf_counter, time
from typing import ClassVar, cast

from penstock.errors import InvalidInput, Overloaded, PenstockError
from penstock.serve.calls import Call, Reply
from penstock.serve.encodings import decompressed
from penstock.serve.express import Failure
from penstock.serve.flow import Flow
from penstock.serve.lane import Job
from penstock.serve.listeners import grpc_wire
from penstock.serve.listeners.grpc_plan import RpcPlan
from penstock.serve.listeners.grpc_wire import PREFIX_BYTES
from penstock.serve.listeners.http2 import Http2Connection
from penstock.serve.listeners.http2_heads import RequestHead
from penstock.serve.listeners.http2_limits import Http2Limits
from penstock.serve.listeners.http2_stream import Http2Stream
from penstock.serve.service import CONTENT_TYPE, INTERNAL, METHOD, refuse_rpc


class Miscompressed(Exception):
    """A message says that it is compressed, and its call's head does not say how."""


class GrpcStream(Http2Stream):
    """What all kinds of calls share: messages in, and the ways to end.

    Args:
        connection: Whose stream it is.
        number: The stream's.
        head: Of its request, with its plan.
        flow: Answers calls.
        limits: Of a connection.

    Attributes:
        lone: It has exactly one request message, which has to come soon.
        over: Nothing more is sent on it, or taken.
    """

    __slots__ = ("_connection", "_flow", "_limits", "_parts", "_plan", "over")
    lone: ClassVar[bool] = False

    def __init__(
        self, connection: Http2Connection, number: int, head: RequestHead, flow: Flow, limits: Http2Limits
    ) -> None:
        super().__init__(number, head, connection.out.initial, limits.stream_bytes)
        self._connection = connection
        self._plan = cast("RpcPlan", head.plan)
        self._flow = flow
        self._limits = limits
        self._parts: list[bytes] = []
        self.over = False

    def received(self, data: bytes) -> None:
        """Keep it until the message is whole, if that is not too much."""
        if self.over or not data:
            return
        begun = self.incoming
        if not begun:
            self.since = monotonic()
        self._parts.append(data)
        self.incoming = begun + len(data)
        self._connection.held += len(data)
        if begun < PREFIX_BYTES and self.announced() > self._limits.message_bytes:
            self.refuse(self._too_large())
        elif self._connection.held > self._limits.held_bytes:
            self.refuse(Overloaded("too much is under way on this connection", "send fewer large messages at once"))

    def announced(self) -> int:
        """Bytes of the message that comes; 0 while even that is not known."""
        if self.incoming < PREFIX_BYTES:
            return 0
        prefix = self._parts[0]
        if len(prefix) < PREFIX_BYTES:
            prefix = b"".join(self._parts)
            self._parts = [prefix]
        return int.from_bytes(prefix[1:PREFIX_BYTES], "big")

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
        self._parts = []
        self._connection.held -= self.incoming
        self.incoming = 0
        self.stopped()

    def stopped(self) -> None:
        """It is over: what has not started need not."""

    def refuse(self, error: PenstockError) -> None:
        """End it with an error."""
        self.end_with(refuse_rpc(error))

    def end_with(self, reply: Reply) -> None:
        """End it with a refusal, whatever else was under way."""
        if not self.over:
            self.end(grpc_wire.refused_alone(grpc_wire.refusal(reply)))

    def end(self, block: bytes) -> None:
        """Send the last block."""
        GrpcStream.lost(self)
        self._connection.out.end(self, grpc_wire.ending(self.id, block))

    def check(self, now: float) -> None:
        """A message that has begun has to go on coming, and a lone one has to begin."""
        waited = now - self.since
        begun = self.incoming or (self.lone and not self.half_closed)
        if begun and waited > self._limits.body_s and self.incoming < self._limits.body_bytes_s * waited:
            self.refuse(_too_slow())

    def unpacked(self, data: bytes) -> bytes:
        """A message without its prefix.

        Raises:
            InvalidInput: It is damaged, or too large once unpacked.
            Miscompressed: Nobody said how it is compressed.
        """
        if not data[0]:
            return data[PREFIX_BYTES:]
        if data[0] != 1 or not self._plan.gzip:
            raise Miscompressed("a message is compressed, and grpc-encoding does not say how")
        return decompressed(data[PREFIX_BYTES:], b"gzip", self._limits.message_bytes)

    def alone(self) -> bytes | None:
        """The one message of a call that has exactly one; None after a refusal."""
        data = self.taken()
        try:
            if len(data) < PREFIX_BYTES or len(data) - PREFIX_BYTES != int.from_bytes(data[1:PREFIX_BYTES], "big"):
                raise InvalidInput("a call has exactly one request message", "send it whole", code="input.malformed")
            return self.unpacked(data)
        except PenstockError as error:
            self.refuse(error)
        except Miscompressed as error:
            self.end_with(miscompressed(error))
        return None

    def ask(self, message: bytes, answer: Callable[[Reply], None]) -> Job | None:
        """Hand a whole message over."""
        rpc = self._plan.rpc
        if rpc is None:
            return None
        call = Call(METHOD, rpc.path(message), self.head.headers, message, time(), perf_counter())
        return self._flow.handle(call, answer)

    def _too_large(self) -> InvalidInput:
        most = self._limits.message_bytes
        return InvalidInput(f"the message is larger than {most} bytes", "send fewer rows", code="serve.too_large")


class RefusedStream(GrpcStream):
    """A call of nothing that there is."""

    __slots__ = ()

    def opened(self) -> None:
        """Say so."""
        self.end(self._plan.refusal)


class OnceStream(GrpcStream):
    """One request, one response."""

    __slots__ = ("body", "job", "started", "ticket")
    lone = True

    def opened(self) -> None:
        """Nothing has come yet."""
        self.job: Job | None = None

    def finished(self) -> None:
        """The request is whole: ask."""
        message = None if self.over else self.alone()
        if message is not None:
            self._begin(message)

    def whole(self, data: bytes) -> None:
        """The request came at once: ask."""
        if data[:1] != b"\0" or int.from_bytes(data[1:PREFIX_BYTES], "big") != len(data) - PREFIX_BYTES:
            super().whole(data)
            return
        self.job = None
        self._begin(data[PREFIX_BYTES:])

    def _begin(self, message: bytes) -> None:
        """Have it answered with its turn, or alone where it is unusual."""
        self.body, self.started = message, perf_counter()
        plan = self._plan
        ticket = plan.ticket
        if ticket is None or ticket.epoch is not self._flow.board.epoch or not message.startswith(plan.begin):
            ticket = plan.worth(message, self.head, self._flow)
        self.ticket = ticket
        if ticket.express is None:
            self.unusual()
        else:
            ticket.express.take(self)

    def predicted(self, own_id: str, lines: tuple[bytes, bytes], content: bytes) -> None:
        """See `penstock.serve.express.Entry`."""
        if self.over:
            return
        out, size = self._connection.out, len(content) + PREFIX_BYTES
        if size > self.window or size > out.window or size > out.frame_bytes:
            headers = b"%bx-prediction-id: %b\r\n%b" % (lines[0], own_id.encode(), lines[1])
            self.answer(Reply(0, content, CONTENT_TYPE, headers))
            return
        self.over = True
        out.window -= size
        out.end(self, grpc_wire.predicted(self.id, content, own_id, lines[0] + lines[1]))

    def unusual(self) -> None:
        """See `penstock.serve.express.Entry`."""
        rpc = self._plan.rpc
        if self.over or rpc is None:
            return
        call = Call(METHOD, rpc.path(self.body), self.head.headers, self.body, time(), self.started)
        job = self._flow.handle(call, self.answer)
        if not self.over:
            self.job = job

    def failed(self, failure: Failure) -> None:
        """See `penstock.serve.express.Entry`."""
        rpc = self._plan.rpc
        if rpc is not None:
            call = Call(METHOD, rpc.path(self.body), self.head.headers, self.body, failure.received_at, self.started)
            self._flow.fail(call, failure, self.answer)

    def answer(self, reply: Reply) -> None:
        """Send the response and the trailers."""
        if self.over:
            return
        if reply.status or reply.content_type != CONTENT_TYPE:
            self.end_with(reply)
            return
        self.over = True
        out, size = self._connection.out, len(reply.body) + PREFIX_BYTES
        if size <= self.window and size <= out.window and size <= out.frame_bytes:
            out.window -= size
            out.end(self, grpc_wire.whole(self.id, reply.body, reply.headers))
            return
        out.put(grpc_wire.head(self.id))
        out.data(self, grpc_wire.framed(reply.body))
        out.end(self, grpc_wire.ending(self.id, grpc_wire.trailers(reply.headers)))

    def stopped(self) -> None:
        """Nobody waits for the job."""
        if self.job is not None:
            self.job.cancel()


def miscompressed(error: Miscompressed) -> Reply:
    """The answer that doc/compression.md of gRPC asks for."""
    return Reply(INTERNAL, str(error).encode(), CONTENT_TYPE)


def _too_slow() -> InvalidInput:
    return InvalidInput("the message came too slowly", "send it in one go", code="serve.slow")
