"""Stage 4, serve: where a request stands in the order of its connection's answers, and an answer in HTTP/1.1.

Comes in: a `Reply`, or a prediction as its dialect encoded it. Goes out: the bytes that are next to be sent.
"""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Protocol

from penstock.serve.calls import Reply
from penstock.serve.express import Failure, Ticket
from penstock.serve.lane import Job
from penstock.serve.listeners.heads import Head

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"


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


class Asker(Protocol):
    """The connection of a request whose head is known."""

    def answered(self, slot: QuickSlot) -> None:
        """Its answer is there, and its log is written."""

    def handle(self, slot: QuickSlot, head: Head, body: bytes) -> None:
        """It was not usual after all."""

    def fail(self, slot: QuickSlot, head: Head, failure: Failure) -> None:
        """It was refused by its model."""


class QuickSlot(Slot):
    """The place of a request whose head is known: all it needs to be answered with its whole turn.

    See `penstock.serve.express.Entry`.
    """

    __slots__ = ("_connection", "_head", "body", "started", "ticket")

    def __init__(self, connection: Asker, head: Head, body: bytes, ticket: Ticket) -> None:
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


def is_ready(slot: Slot) -> bool:
    """Whether its answer is there, or begins to come."""
    return bool(slot.data) or slot.reply is not None


def whole_answer(slot: Slot, *, close: bool) -> bytes:
    """An answer that is all there; of one in parts nothing more.

    Args:
        slot: One that is ready.
        close: The client is told to go.
    """
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


def more_parts(slot: Slot, out: list[bytes], *, chunked: bool, closing: bool) -> bool:
    """What has come of an answer in parts, its head first; of any other nothing.

    Args:
        slot: One with a reply.
        out: Gets it.
        chunked: The client knows chunks (RFC 9112, section 7.1); the others know the end by its closing.
        closing: The client is told to go.

    Returns:
        Whether that was the last of it.
    """
    reply = slot.reply
    parts = reply.parts if reply is not None else None
    if reply is None or parts is None:
        return True
    if not parts.begun:
        parts.begun = True
        slot.close = slot.close or closing or not chunked
        out.append(
            b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b%b%b\r\n"
            % (
                reply.status,
                _REASONS.get(reply.status, b""),
                reply.content_type,
                reply.headers,
                _CLOSE if slot.close else b"",
                b"transfer-encoding: chunked\r\n" if chunked else b"",
            )
        )
    data, last = parts.read()
    if data:
        out.append(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    if last and chunked:
        out.append(b"0\r\n\r\n")
    return last
