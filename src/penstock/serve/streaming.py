"""Stage 4, serve: one request answered piece by piece, in the order of its rows.

    request --decode, choose, conform--> rows --cut--> a Visit a piece --its lane--> events in order --> the listener

Every piece is a prediction of its own: with its own id, count and log entry. A few are under way at a time, more when
the client has read; when it goes away the rest never start. What is refused before the first event is an ordinary
refusal; later it is an event, and the rows after it are still answered.
"""

from __future__ import annotations

from collections.abc import Callable

from penstock.errors import InvalidInput
from penstock.serve.calls import Call, Parts, Reply
from penstock.serve.lane import Job
from penstock.serve.protocol import ServingProtocol
from penstock.serve.visit import Answer, Visit

WINDOW = 4
"""Pieces under way at a time."""
EVENTS = b"text/event-stream"
"""Who accepts this and nothing else is answered in events, in any dialect."""


class EventStream(Job):
    """A request whose answer is a stream of events.

    Args:
        visit: Of the whole request: decoded, conformed, its variant chosen.
        protocol: In whose words each event is.
        answer: Gets one reply, whose parts follow.
        new_id: Names a piece.
        ended: Called once, when nothing more will come.
    """

    def __init__(
        self,
        visit: Visit,
        protocol: ServingProtocol,
        answer: Answer,
        new_id: Callable[[], str],
        ended: Callable[[], None],
    ) -> None:
        super().__init__({}, 0, 0.0)
        self._visit = visit
        self._protocol = protocol
        self._answer = answer
        self._new_id = new_id
        self._ended = ended
        self._size = 1
        self._cut = 0
        self._told = 0
        self._under_way: dict[int, Visit] = {}
        self._answers: dict[int, Reply] = {}
        self._parts: Parts | None = None
        self._submitting = False

    def begin(self, rows: int) -> None:
        """Submit the first pieces.

        Args:
            rows: Of one event.
        """
        self._size = rows
        self.go_on()

    def go_on(self) -> None:
        """Submit more pieces, as long as the client reads."""
        if self._submitting:
            return
        self._submitting = True
        while self._cut < self._visit.rows and not self.cancelled and self._has_room():
            self._submit(self._cut)
            self._cut += self._size
        self._submitting = False
        self._tell()

    def cancel(self) -> None:
        """The client has gone: what has not started never does."""
        self.cancelled = True
        for piece in self._under_way.values():
            piece.cancel()
        self._end_if_over()

    def _has_room(self) -> bool:
        held = len(self._under_way) + len(self._answers)
        return held < WINDOW and (self._parts is None or self._parts.room)

    def _submit(self, at: int) -> None:
        piece = self._visit.piece(self._new_id(), slice(at, at + self._size), lambda reply: self._take(at, reply))
        self._under_way[at] = piece
        piece.submit()

    def _take(self, at: int, reply: Reply) -> None:
        del self._under_way[at]
        self._answers[at] = reply
        if not self._submitting:
            self.go_on()

    def _tell(self) -> None:
        """Pass on what is next in order."""
        while self._told in self._answers and not self.cancelled:
            reply = self._answers.pop(self._told)
            self._told += self._size
            if self._parts is None and reply.status >= 400:
                self._answer(reply)
                self.cancel()
                return
            self._open().put(self._protocol.event(reply))
        if not self._visit.rows:
            self._open()
        self._end_if_over()

    def _open(self) -> Parts:
        """The answer has begun."""
        if self._parts is None:
            self._parts = Parts(self)
            self._answer(Reply(200, b"", EVENTS, b"cache-control: no-cache\r\n", self._parts))
        return self._parts

    def _end_if_over(self) -> None:
        over = self.cancelled or self._told >= self._visit.rows
        if over and not self._under_way and not self.finished:
            self.finished = True
            if self._parts is not None:
                self._parts.end()
            self._ended()


def event_rows(call: Call, visit: Visit) -> int:
    """How many rows one event answers: the query's ``rows``, or one.

    Raises:
        InvalidInput: It is no such number, or an output is to be put into shared memory.
    """
    if visit.places_outputs:
        raise InvalidInput("events cannot be put into shared memory", "take the outputs from them", where="outputs")
    given = call.query.get("rows", "1")
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 7 and int(given)):
        raise InvalidInput("this is no number of rows", "send a whole number above 0", where="query.rows")
    return int(given)
