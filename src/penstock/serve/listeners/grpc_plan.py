"""Stage 4, serve: what the head of a gRPC request says, worked out once for all requests that have it."""

from __future__ import annotations

from time import time

from penstock.serve.calls import Call
from penstock.serve.express import Ticket
from penstock.serve.flow import Flow
from penstock.serve.listeners.http2_heads import RequestHead
from penstock.serve.service import METHOD, Rpc

MOST_TICKETS = 64
"""Paths of one head that are remembered."""


class RpcPlan:
    """What a request's head says, worked out once for all requests that have it.

    Attributes:
        rpc: None where there is nothing to call.
        refusal: The only block of the answer then.
        gzip: Messages may be compressed.
        tickets: What the head is worth, by path; few, and nobody else's: another head may have no token.
        begin: Of the message that was asked with last, as far as it decides the path; empty where it does not.
        ticket: For messages that begin so.
    """

    __slots__ = ("begin", "gzip", "refusal", "rpc", "ticket", "tickets")

    def __init__(self, rpc: Rpc | None, refusal: bytes = b"", *, gzip: bool = False) -> None:
        self.rpc = rpc
        self.refusal = refusal
        self.gzip = gzip
        self.tickets: dict[str, Ticket] = {}
        self.begin = b""
        self.ticket: Ticket | None = None

    def worth(self, message: bytes, head: RequestHead, flow: Flow) -> Ticket:
        """What the head is worth for this message's path, worked out again when the board is another."""
        rpc = self.rpc
        if rpc is None:
            raise LookupError("there is nothing to call")
        path = rpc.path(message)
        ticket = self.tickets.get(path)
        if ticket is None or ticket.epoch is not flow.board.epoch:
            if len(self.tickets) >= MOST_TICKETS:
                self.tickets.clear()
            ticket = flow.ticket(Call(METHOD, path, head.headers, b"", time(), 0.0))
            self.tickets[path] = ticket
        self.begin = rpc.begin(message) if rpc.begin else b""
        self.ticket = ticket if self.begin else None
        return ticket
