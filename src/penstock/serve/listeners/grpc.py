"""Stage 4, serve: gRPC on HTTP/2: which method a head calls, and the stream that answers it.

head -> method, content type, encoding -> a plan, kept with the head -> stream of the method's kind

A refusal is a status in the trailers; an HTTP status tells only who speaks no gRPC at all. Source:
doc/PROTOCOL-HTTP2.md and doc/compression.md of gRPC.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.adapters import TABLE, load
from penstock.errors import InvalidInput, PenstockError
from penstock.serve.flow import Flow
from penstock.serve.listeners.grpc_lasting import AnewStream, EachStream
from penstock.serve.listeners.grpc_plan import RpcPlan
from penstock.serve.listeners.grpc_stream import GrpcStream, OnceStream, RefusedStream
from penstock.serve.listeners.grpc_wire import refusal, refused_alone, refused_http
from penstock.serve.listeners.http2 import Http2Connection
from penstock.serve.listeners.http2_heads import RequestHead
from penstock.serve.listeners.http2_limits import Http2Limits
from penstock.serve.service import CONTENT_TYPE, Rpc, Service, refuse_rpc, timeout_s
from penstock.serve.turn import LoopTurn

_KINDS: dict[str, type[GrpcStream]] = {"once": OnceStream, "each": EachStream, "anew": AnewStream}


class GrpcState:
    """What the connections of the gRPC listener share.

    Args:
        flow: Answers calls; knows the services as dialects.
        turn: Sends answers.
        limits: Sizes and times.
        services: Whose methods there are; those of the adapters' table where none are given.

    Attributes:
        closing: The server goes soon.
    """

    def __init__(
        self, flow: Flow, turn: LoopTurn, limits: Http2Limits | None = None, services: Sequence[Service] | None = None
    ) -> None:
        self.turn = turn
        self.limits = limits or Http2Limits()
        self.closing = False
        self._left = False
        self.connections: set[Http2Connection] = set()
        self._flow = flow
        self._rpcs: dict[bytes, Rpc] = {
            path.encode(): rpc for service in services or _services() for path, rpc in service.rpcs.items()
        }

    @property
    def leaving(self) -> bool:
        """Whether new connections are told to leave, as the others were; not once the door is opened again."""
        return self._left and self.closing

    def connect(self) -> Http2Connection:
        """A new connection."""
        return Http2Connection(self)

    def leave(self) -> None:
        """Let every connection go after what it holds."""
        self._left = True
        for connection in list(self.connections):
            connection.leave()

    def stream(self, connection: Http2Connection, number: int, head: RequestHead) -> GrpcStream:
        """A stream of the kind that its method is."""
        plan = head.plan
        if not isinstance(plan, RpcPlan):
            plan = head.plan = self._plan(head)
        kind = _KINDS[plan.rpc.answers] if plan.rpc else RefusedStream
        return kind(connection, number, head, self._flow, self.limits)

    def _plan(self, head: RequestHead) -> RpcPlan:
        headers = head.headers
        if head.method != b"POST":
            return RpcPlan(None, refused_http(405))
        if not _is_grpc(headers.get(b"content-type", b"")):
            return RpcPlan(None, refused_http(415))
        rpc = self._rpcs.get(head.path)
        if rpc is None:
            return _refused("there is no such method", "reflection lists those there are", code="serve.unsupported")
        encoding = headers.get(b"grpc-encoding", b"identity")
        if encoding not in (b"identity", b"gzip"):
            return _refused("this compression is not spoken", "send gzip or identity", code="serve.unsupported")
        try:
            timeout_s(headers.get(b"grpc-timeout", b"1S"))
        except PenstockError as error:
            return RpcPlan(None, refused_alone(refusal(refuse_rpc(error))))
        return RpcPlan(rpc, gzip=encoding == b"gzip")


def _services() -> list[Service]:
    return [load("service", name)() for name in TABLE["service"]]


def _is_grpc(content_type: bytes) -> bool:
    return content_type == CONTENT_TYPE or content_type.startswith((CONTENT_TYPE + b"+", CONTENT_TYPE + b";"))


def _refused(message: str, hint: str, *, code: str) -> RpcPlan:
    return RpcPlan(None, refused_alone(refusal(refuse_rpc(InvalidInput(message, hint, code=code)))))
