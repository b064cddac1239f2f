"""Stage 4, serve: the request path, one straight line.

    bytes -> authorize -> protocol.decode -> router.choose -> conform -> batcher (engine) -> protocol.encode -> bytes
                                                                              `-> one Exchange to the recorder

Whoever asks is known before a byte of the body is parsed; the variant is chosen before the input is conformed,
because it is conformed to that variant's signature. Shadows get a copy when the answer is made.
"""

from __future__ import annotations

import logging
import os

from penstock.errors import Fault, NotFound, PenstockError
from penstock.serve.board import Board
from penstock.serve.catalogue import metrics
from penstock.serve.explaining import Explaining
from penstock.serve.express import Ids, Station, Ticket
from penstock.serve.keeper import Keeper
from penstock.serve.lane import Job
from penstock.serve.protocol import Call, Operation, ServingProtocol, refuse
from penstock.serve.streaming import EVENTS, Stream, event_rows
from penstock.serve.visit import Answer, Desk, Visit
from penstock.tensors import nothing

_LOG = logging.getLogger("penstock.serve")
_MOST_PATHS = 4096
_PER_REQUEST = frozenset(
    {b"x-routing-key", b"x-event-time", b"x-deadline-ms", b"content-encoding", b"grpc-timeout", b"prefer"}
)
"""Headers that say something about one request, and not about all that have the same head."""
_ACCEPT = b"accept"


class Flow:
    """Handles calls; the only thing a listener knows.

    Args:
        board: What is live.
        desk: What all requests share.
        protocols: In the order in which they are asked for a path.
    """

    def __init__(self, board: Board, desk: Desk, protocols: tuple[ServingProtocol, ...]) -> None:
        self.board = board
        self.desk = desk
        self.keeper = Keeper(board, desk.meters.folder.parent)
        desk.regions = self.keeper.regions
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
            protocol, operation = self._match(call)
            if operation.verb == "predict" and call.headers.get(_ACCEPT) != EVENTS:
                return self._predict(call, protocol, operation, answer)
            if operation.verb in ("predict", "stream"):
                return self._stream(call, protocol, operation, answer)
            if operation.verb == "explain":
                return self._predict(call, protocol, operation, answer, Explaining)
            self.keeper.handle(protocol, operation, call, answer)
        except PenstockError as error:
            answer(protocol.refuse(error) if protocol else refuse(error))
        # The protocol boundary: whatever we did wrong is a fault in the log, and no stack for the caller.
        except Exception:
            reference = self._ids.new()
            _LOG.exception("request %s failed", reference)
            fault = Fault("", code="serve.fault")
            answer(protocol.refuse(fault, reference) if protocol else refuse(fault, reference))
        return None

    def ticket(self, call: Call) -> Ticket:
        """What the head of a call is worth for the calls after it with the same one.

        Usual are predictions that name no version, of endpoints without shadows whose models run inline; and heads
        that say nothing about the request itself.
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
            if grant is not None and grant.rate_per_s:
                return nothing  # each of its calls is counted
            subject = board.authorize(endpoint, call.headers, call.received_at)
        except PenstockError:
            return nothing
        express = self._station.express(epoch, endpoint, protocol.forms, call.headers)
        return Ticket(epoch, express, subject, grant.expires_at if grant else 0.0)

    def _match(self, call: Call) -> tuple[ServingProtocol, Operation]:
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
        for method in ("GET", "POST"):
            if any(protocol.match(method, call.path) for protocol in self._protocols):
                raise NotFound("the path takes another method", f"use {method}", code="serve.method")
        raise NotFound("there is no such path", "GET /v2/models lists the endpoints", code="serve.no_path")

    def _predict(
        self, call: Call, protocol: ServingProtocol, operation: Operation, answer: Answer, kind: type[Visit] = Visit
    ) -> Job | None:
        """The line itself; what comes after the batcher is `Visit.done`, or what an explanation makes of it."""
        endpoint = self.board.endpoint(operation.endpoint or protocol.named(call))
        visit = kind(self.desk, self._ids.new(), call=call, endpoint=endpoint, answer=answer)
        visit.protocol = protocol
        self.desk.in_flight += 1
        try:
            visit.subject = self.board.authorize(endpoint, call.headers, call.received_at)
            visit.decode(protocol)
            visit.choose(operation.version)
            visit.conform()
            if not visit.rows:
                visit.finish(nothing(visit.arm.model.manifest.signature))
                return None
            visit.arm.model.lane.submit(visit, endpoint.route.limits.queue)
        except PenstockError as error:
            visit.finish(error)
        except BaseException:
            self.desk.in_flight -= 1
            raise
        return None if visit.finished else visit

    def _stream(self, call: Call, protocol: ServingProtocol, operation: Operation, answer: Answer) -> Job | None:
        """The same line, cut into pieces behind `conform`."""
        endpoint = self.board.endpoint(operation.endpoint or protocol.named(call))
        visit = Visit(self.desk, self._ids.new(), call=call, endpoint=endpoint, answer=answer)
        visit.protocol = protocol
        self.desk.in_flight += 1
        try:
            visit.subject = self.board.authorize(endpoint, call.headers, call.received_at)
            visit.decode(protocol)
            visit.choose(operation.version)
            visit.conform()
            rows = event_rows(call, visit)
        except PenstockError as error:
            visit.finish(error)
            return None
        except BaseException:
            self.desk.in_flight -= 1
            raise
        stream = Stream(visit, protocol, answer, self._ids.new, self._streamed)
        stream.begin(rows)
        return None if stream.finished else stream

    def _streamed(self) -> None:
        self.desk.in_flight -= 1
