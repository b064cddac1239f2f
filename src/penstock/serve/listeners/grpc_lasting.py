"""Stage 4, serve: gRPC calls that last: a stream of requests and their responses, an answer that is watched.

messages -> a slot each -> Flow.handle -> responses in the order of the requests

No more messages are taken while too many wait for their answer, and the stream's window stays shut meanwhile. What
is late is ended with DEADLINE_EXCEEDED; when the server goes, each stream is told to be opened again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from penstock.errors import DeadlineExceeded, NotReady, PenstockError
from penstock.serve.calls import Reply
from penstock.serve.lane import Job
from penstock.serve.listeners import grpc_wire
from penstock.serve.listeners.grpc_stream import GrpcStream, Miscompressed, miscompressed
from penstock.serve.listeners.grpc_wire import PREFIX_BYTES
from penstock.serve.listeners.http2_limits import ANSWER_CREDIT
from penstock.serve.service import refuse_rpc, timeout_s

STAY_S = 0.5
"""How long a stream without a request is kept when the server goes."""
POLL_S = 0.05
"""How often it is looked whether a watched answer is another one."""


class ResponseSlot:
    """A request's place in the order of a stream's answers."""

    __slots__ = ("job", "reply")

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.job: Job | None = None


class LastingStream(GrpcStream):
    """A call that may answer more than once."""

    __slots__ = ("_begun", "_late")

    def opened(self) -> None:
        """Begin the answer, so that the client sees that it is heard; watch the time, if the client does."""
        self._begun = True
        self._late: asyncio.TimerHandle | None = None
        self._connection.out.put(grpc_wire.head(self.id))
        given = self.head.headers.get(b"grpc-timeout")
        if given is not None:
            error = DeadlineExceeded("the time budget of the stream ran out", "open it again")
            self._late = asyncio.get_running_loop().call_later(timeout_s(given), self.refuse, error)

    def say(self, reply: Reply) -> None:
        """Send an answer as a message; a refusal that no message can hold ends the stream."""
        wrap = self._plan.rpc.wrap if self._plan.rpc else None
        if wrap is None and reply.status:
            self.end_with(reply)
            return
        self._connection.out.data(self, grpc_wire.framed(wrap(reply) if wrap else reply.body))

    def end(self, block: bytes) -> None:
        """Send the last block, without what the first has said."""
        super().end(block.removeprefix(grpc_wire.HEAD_BLOCK))

    def stopped(self) -> None:
        """Time does not matter any more."""
        if self._late is not None:
            self._late.cancel()

    def go(self) -> None:
        """The server goes."""
        self.refuse(NotReady("this server goes", "open the stream again", code="serve.leaving"))


class EachStream(LastingStream):
    """A stream of requests, each with a response, in their order."""

    __slots__ = ("_leaving", "_slots", "_taking")

    def opened(self) -> None:
        """Nothing has come yet."""
        super().opened()
        self._slots: deque[ResponseSlot] = deque()
        self._taking = self._leaving = False

    def received(self, data: bytes) -> None:
        """Take every message that is whole, as long as not too many wait."""
        super().received(data)
        self._take()

    def finished(self) -> None:
        """No more requests come."""
        self._take()
        self._end_if_done()

    def welcome(self) -> bool:
        """Whether more messages may come: not while many wait for their answer."""
        return len(self._slots) < self._limits.messages

    def leave(self) -> None:
        """Answer what has come, or comes next, and end right behind the answer.

        A client that asks one thing after the other has nothing on its way then; one that asks nothing is not
        waited for.
        """
        self._leaving = True
        if self._slots or self.incoming:
            self._end_if_done()
        else:
            asyncio.get_running_loop().call_later(STAY_S, self._end_if_done)

    def check(self, now: float) -> None:
        """A message that waits for others' answers is not slow."""
        if self.welcome():
            super().check(now)

    def stopped(self) -> None:
        """Nobody waits for its jobs."""
        super().stopped()
        for slot in self._slots:
            if slot.job is not None:
                slot.job.cancel()
        self._slots.clear()

    def _take(self) -> None:
        """Ask with each whole message."""
        if self._taking or self.over or self.incoming < PREFIX_BYTES + self.announced():
            return
        self._taking = True
        data, at = self.taken(), 0
        while len(data) - at >= PREFIX_BYTES and self.welcome() and not self.over:
            size = int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")
            end = at + PREFIX_BYTES + size
            if size > self._limits.message_bytes:
                self.refuse(self._too_large())
            if end > len(data):
                break
            self._ask_with(data[at:end])
            at = end
        if at < len(data) and not self.over:
            self._parts = [data[at:]]
            self.incoming = len(data) - at
            self._connection.held += self.incoming
            self.since = monotonic()
        self._taking = False

    def _ask_with(self, data: bytes) -> None:
        slot = ResponseSlot()
        self._slots.append(slot)
        try:
            message = self.unpacked(data)
        except PenstockError as error:
            self._fill(slot, refuse_rpc(error))
        except Miscompressed as error:
            self.end_with(miscompressed(error))
        else:
            job = self.ask(message, lambda reply: self._fill(slot, reply))
            if slot.reply is None:
                slot.job = job

    def _fill(self, slot: ResponseSlot, reply: Reply) -> None:
        """Send every answer that is next in order, and go on."""
        slot.reply, slot.job = reply, None
        while self._slots and not self.over:
            first = self._slots[0].reply
            if first is None:
                break
            self._slots.popleft()
            self._connection.inflow.account.earn(ANSWER_CREDIT)
            self.say(first)
        if not self._taking and not self.over:
            self._take()
            self._end_if_done()
            self._connection.inflow.invite(self)

    def _end_if_done(self) -> None:
        if self._slots or self.over or self._taking:
            return
        if self.half_closed and self.incoming:
            self.alone()
        elif self.half_closed:
            self.end(grpc_wire.trailers(b""))
        elif self._leaving and not self.incoming:
            self.go()


class AnewStream(LastingStream):
    """One request, answered anew whenever the answer is another one."""

    __slots__ = ("_last", "_message", "_next")
    lone = True

    def opened(self) -> None:
        """Nothing has come yet."""
        super().opened()
        self._last: Reply | None = None
        self._message = b""
        self._next: asyncio.TimerHandle | None = None

    def finished(self) -> None:
        """The request is whole: answer, and go on looking."""
        message = None if self.over else self.alone()
        if message is not None:
            self._message = message
            self._look()

    def answer(self, reply: Reply) -> None:
        """Send it, if it is another one."""
        if not self.over and reply != self._last:
            self._last = reply
            self.say(reply)

    def leave(self) -> None:
        """Say how it is a last time, and end."""
        if self._next is not None:
            self._next.cancel()
            self.ask(self._message, self.answer)
        if not self.over:
            self.go()

    def stopped(self) -> None:
        """Look no more."""
        super().stopped()
        if self._next is not None:
            self._next.cancel()

    def _look(self) -> None:
        self.ask(self._message, self.answer)
        if not self.over:
            self._next = asyncio.get_running_loop().call_later(POLL_S, self._look)
