"""Stage 4, serve: the request path, one straight line.

    bytes -> authorize -> protocol.decode -> router.choose -> conform -> batcher (engine) -> protocol.encode -> bytes
                                                                              `-> one Exchange to the recorder

Whoever asks is known before a byte of the body is parsed; the variant is chosen before the input is conformed,
because it is conformed to that variant's signature. Shadows get a copy when the answer is made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import msgspec

from penstock.errors import Fault, NotFound, PenstockError
from penstock.serve.board import Board
from penstock.serve.calls import Call, Reply
from penstock.serve.catalogue import metrics
from penstock.serve.deferring import PATH as JOBS
from penstock.serve.deferring import Deferring, preferred
from penstock.serve.explaining import Explaining
from penstock.serve.express import Failure, Ticket
from penstock.serve.ids import Ids
from penstock.serve.keeper import Keeper
from penstock.serve.lane import Job
from penstock.serve.protocol import Operation, ServingProtocol
from penstock.serve.queue import LOWEST
from penstock.serve.refusals import refuse
from penstock.serve.station import Station
from penstock.serve.streaming import EVENTS, EventStream, event_rows
from penstock.serve.torchkeys import SUBJECT
from penstock.serve.visit import Answer, Desk, Visit
from penstock.tensors import nothing

_LOG = logging.getLogger("penstock.serve")
_MOST_PATHS = 4096
_METHODS = ("GET", "POST", "PUT")
_PER_REQUEST = frozenset(
    {b"x-routing-key", b"x-event-time", b"x-deadline-ms", b"content-encoding", b"grpc-timeout", b"prefer"}
)
"""Headers that say something about one request, and not about all that have the same head."""
_ACCEPT = b"accept"
_UNUSUAL = frozenset({_ACCEPT, b"prefer"})
Way = tuple[ServingProtocol, Operation]


class Flow:
    """Handles calls; the only thing a listener knows.

    Args:
        board: What is live.
        desk: What all requests share.
        protocols: In the order in which they are asked for a path; gone through again for each new path.

    Attributes:
        deferring: Accepts what is answered later; None where there is no folder that lasts.
    """

    def __init__(self, board: Board, desk: Desk, protocols: Iterable[ServingProtocol]) -> None:
        self.board = board
        self.desk = desk
        self.keeper = Keeper(board, desk.meters.folder.parent)
        desk.regions = self.keeper.regions
        self.deferring: Deferring | None = None
        self._protocols = protocols
        self._paths: dict[tuple[str, str], tuple[ServingProtocol, Operation]] = {}
        self._ids = Ids(os.urandom(6).hex())
        self._station = Station(desk, self._ids)

    def handle(self, call: Call, answer: Answer) -> Job | None:
        """Answer a call, now or later.

        Returns:
            The job to cancel when the caller goes away; None where nothing waits.
        """
        protocol: ServingProtocol | None = None
        try:
            if call.path == "/metrics":
                answer(metrics(self.board, self.desk.meters.folder, call))
                return None
            if self.deferring is not None and call.path.startswith(JOBS):
                self.deferring.handle(call, answer)
                return None
            way = self._match(call)
            protocol = way[0]
            return self._along(call, way, answer)
        except PenstockError as error:
            protocol = protocol or self._speaker(call.path)
            answer(protocol.refuse(error) if protocol else refuse(error))
        # The protocol boundary: whatever we did wrong is a fault in the log, and no stack for the caller.
        except Exception:
            answer(self._fault(protocol))
        return None

    def fail(self, call: Call, failure: Failure, answer: Answer) -> None:
        """Answer a usual call that its model, or its queue, has refused: said, counted and recorded as any refusal."""
        protocol, _ = self._match(call)
        visit = Visit(self.desk, failure.own_id, call=call, endpoint=failure.endpoint, answer=answer)
        visit.subject = failure.subject
        self.desk.in_flight += 1
        try:
            visit.decode(protocol)
            visit.take(failure.arm)
            visit.conform()
        except PenstockError as error:
            visit.finish(error)
        visit.finish(failure.error)

    def ticket(self, call: Call) -> Ticket:
        """What the head of a call is worth for the calls after it with the same one.

        Usual are predictions that name no version, of endpoints without shadows; and heads that say nothing about the
        request itself.
        """
        board, epoch = self.board, self.board.epoch
        nothing = Ticket(epoch, None, "", 0.0)
        try:
            protocol, operation = self._match(call)
            if operation.verb != "predict" or operation.version or not _PER_REQUEST.isdisjoint(call.headers):
                return nothing
            if call.headers.get(_ACCEPT) == EVENTS:
                return nothing
            endpoint = board.endpoint(operation.endpoint or protocol.named(call))
            grant = board.grant(call.headers, call.received_at)
            if grant is not None and (grant.rate_per_s or grant.subject == SUBJECT):
                return nothing  # each of its calls is counted, or may be the last
            subject = board.authorize(endpoint, call.headers, call.received_at)
        except PenstockError:
            return nothing
        express = self._station.express(epoch, endpoint, protocol.forms, call.headers)
        return Ticket(epoch, express, subject, grant.expires_at if grant else 0.0)

    def _match(self, call: Call) -> Way:
        """Which dialect's which operation a request line is."""
        known = self._paths.get((call.method, call.path))
        if known is not None:
            return known
        for protocol in self._protocols:
            operation = protocol.match(call.method, call.path)
            if operation is not None:
                if operation.endpoint in self.board.endpoints and len(self._paths) < _MOST_PATHS:
                    self._paths[call.method, call.path] = (protocol, operation)
                return protocol, operation
        for method in _METHODS:
            if any(protocol.match(method, call.path) for protocol in self._protocols):
                raise NotFound("the path takes another method", f"use {method}", code="serve.method")
        raise NotFound("there is no such path", "GET /v2/models lists the endpoints", code="serve.no_path")

    def _speaker(self, path: str) -> ServingProtocol | None:
        """Whose path it is, by any method: a refusal is in its words."""
        spoken = (one for one in self._protocols if any(one.match(method, path) for method in _METHODS))
        return next(spoken, None)

    def _along(self, call: Call, way: Way, answer: Answer) -> Job | None:
        """What its verb asks for."""
        verb = way[1].verb
        if verb == "predict" and _UNUSUAL.isdisjoint(call.headers):
            return self._predict(call, way, answer)
        if call.headers.get(_ACCEPT) == EVENTS and verb in ("predict", "stream"):
            # What an event holds is the dialect's own affair: for it, the caller takes anything.
            headers = {name: value for name, value in call.headers.items() if name != _ACCEPT}
            return self._stream(msgspec.structs.replace(call, headers=headers), way, answer)
        if verb == "stream":
            return self._stream(call, way, answer)
        if verb == "explain":
            return self._predict(call, way, answer, Explaining)
        if verb != "predict":
            self.keeper.handle(*way, call, answer)
        elif self.deferring is not None and preferred(call.headers):
            self._defer(call, way, answer, self.deferring)
        else:
            return self._predict(call, way, answer)
        return None

    def _predict(self, call: Call, way: Way, answer: Answer, kind: type[Visit] = Visit) -> Job | None:
        """The line itself; what comes after the batcher is `Visit.done`, or what an explanation makes of it."""
        visit = self._conformed(call, way, answer, kind)
        if not visit.finished:
            _run(visit)
        return None if visit.finished else visit

    def _stream(self, call: Call, way: Way, answer: Answer) -> Job | None:
        """The same line, cut into pieces behind `conform`."""
        visit = self._conformed(call, way, answer)
        if visit.finished:
            return None
        try:
            rows = event_rows(call, visit)
        except PenstockError as error:
            visit.finish(error)
            return None
        stream = EventStream(visit, way[0], answer, self._ids.new, self._left)
        stream.begin(rows)
        return None if stream.finished else stream

    def _defer(self, call: Call, way: Way, answer: Answer, deferring: Deferring) -> None:
        """The same line up to the batcher, to refuse now what would be refused later; the rest at another time."""
        visit = self._conformed(call, way, answer)
        if not visit.finished:
            self._left()
            deferring.accept(call, visit.subject, answer)

    def resume(self, call: Call, owner: str, answer: Answer) -> None:
        """Answer a call that was accepted before, behind those whose callers wait."""
        protocol: ServingProtocol | None = None
        try:
            way = self._match(call)
            protocol = way[0]
            visit = self._conformed(call, way, answer, owner=owner)
            if not visit.finished:
                visit.priority, visit.deadline = LOWEST, 0.0
                _run(visit)
        except PenstockError as error:
            answer(protocol.refuse(error) if protocol else refuse(error))
        # The protocol boundary, as in `handle`: nobody else would ever hear of it, and the call would be run again.
        except Exception:
            answer(self._fault(protocol))

    def _fault(self, protocol: ServingProtocol | None) -> Reply:
        """What is said of an error of our own, which stands in the log."""
        reference = self._ids.new()
        _LOG.exception("request %s failed", reference)
        fault = Fault("", code="serve.fault")
        return protocol.refuse(fault, reference) if protocol else refuse(fault, reference)

    def _conformed(
        self, call: Call, way: Way, answer: Answer, kind: type[Visit] = Visit, owner: str | None = None
    ) -> Visit:
        """A visit ready for its model's queue; a finished one where it was refused.

        Args:
            call: As it came.
            way: Its dialect, and what it asks for.
            answer: Takes the reply.
            kind: What becomes of the model's answer.
            owner: Who asks, where that was found out before.
        """
        protocol, operation = way
        if not operation.endpoint and owner is None:
            self.board.admit(call.headers, call.received_at)
        endpoint = self.board.endpoint(operation.endpoint or protocol.named(call))
        visit = kind(self.desk, self._ids.new(), call=call, endpoint=endpoint, answer=answer)
        visit.protocol = protocol
        self.desk.in_flight += 1
        try:
            if owner is None:
                visit.subject = self.board.authorize(endpoint, call.headers, call.received_at)
            else:
                visit.subject = owner
            visit.decode(protocol)
            visit.choose(operation.version)
            visit.conform()
        except PenstockError as error:
            visit.finish(error)
        except BaseException:
            self._left()
            raise
        return visit

    def _left(self) -> None:
        self.desk.in_flight -= 1


def _run(visit: Visit) -> None:
    if visit.rows:
        visit.submit()
    else:
        visit.finish(nothing(visit.arm.model.manifest.signature))
