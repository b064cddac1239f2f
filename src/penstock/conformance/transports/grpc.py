"""gRPC over grpcio, which is loaded only where there is an address for it.

Methods are called by their path with messages from the kit's own descriptor, so that no generated code is needed.
"""

from __future__ import annotations

import shlex

import grpc
import msgspec
from google.protobuf.json_format import MessageToDict, ParseDict

from penstock.conformance.messages import SERVICE, MessageType, Method, methods
from penstock.conformance.transport import OK_CODE, Heard, Sent, Transport, Unheard

UNHEARD = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Codes that a client gives itself where nobody answered."""


class GrpcTransport(Transport):
    """One server's gRPC address.

    Args:
        address: ``host:port``.
        token: Sent as a bearer's; empty for none.
        timeout_s: How long an answer may take.
    """

    def __init__(self, address: str, token: str, timeout_s: float) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout_s = timeout_s
        self._methods = methods()

    def ask(self, sent: Sent) -> Heard:
        """Call the method; a stream is asked once and read once."""
        method = self._method(sent.what)
        asked = ParseDict(dict(sent.message), method.asked())
        try:
            told, code, text = self._call(method, asked)
        except grpc.RpcError as error:
            code, text = error.code(), error.details() or ""
            if code in UNHEARD and _is_ours(code, text):
                late = code is grpc.StatusCode.DEADLINE_EXCEEDED
                raise Unheard(f"no answer within {self._timeout_s:g} s" if late else "nobody answered") from None
            return Heard(code=code.name, text=text)
        fields = MessageToDict(told, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        return Heard(code=code, message=fields, text=text)

    def shown(self, sent: Sent) -> str:
        """A line for grpcurl."""
        method = self._method(sent.what)
        body = msgspec.json.encode(dict(sent.message)).decode()
        words = ["grpcurl", "-plaintext", *(['-H "authorization: Bearer $TOKEN"'] if self._metadata else [])]
        return " ".join([*words, "-d", shlex.quote(body), self._address, method.path.lstrip("/")])

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _call(self, method: Method, asked: MessageType) -> tuple[object, str, str]:
        ways = {"request_serializer": method.asked.SerializeToString, "response_deserializer": method.told.FromString}
        if not method.streams:
            call = self._channel.unary_unary(method.path, **ways)
            return call(asked, timeout=self._timeout_s, metadata=self._metadata), OK_CODE, ""
        stream = self._channel.stream_stream(method.path, **ways)(
            iter([asked]), timeout=self._timeout_s, metadata=self._metadata
        )
        told = next(stream, None)
        return told if told is not None else method.told(), OK_CODE, ""

    def _method(self, name: str) -> Method:
        """A method that the protocol does not have is asked with an empty message."""
        known = self._methods.get(name)
        if known is not None:
            return known
        empty = self._methods["ServerLive"]
        return empty._replace(path=f"/{SERVICE}/{name}")


def _is_ours(code: grpc.StatusCode, text: str) -> bool:
    """Whether the client gave the code itself. Nothing that the kit sends has a deadline shorter than the client's."""
    lost = (
        "failed to connect",
        "socket closed",
        "connection reset",
        "connection refused",
        "recvmsg",
        "sendmsg",
        "goaway",
    )
    return code is grpc.StatusCode.DEADLINE_EXCEEDED or any(word in text.lower() for word in lost)
