"""One kept connection that asks and hands back what came: HTTP/1.1 by the standard library, gRPC by grpcio."""

from __future__ import annotations

import http.client
from typing import Protocol

import grpc

from bench.traffic import Answer, Traffic

TIMEOUT_S = 30.0


class Client(Protocol):
    """Asks one server, one request at a time."""

    def ask(self, traffic: Traffic, index: int) -> Answer:
        """Send body `index`.

        Raises:
            ConnectionError: There is no answer.
        """

    def close(self) -> None:
        """Let go of the connection."""


class HttpClient:
    """HTTP/1.1, keep-alive; connects again where the last answer did not come."""

    def __init__(self, port: int) -> None:
        self._wire = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def ask(self, traffic: Traffic, index: int) -> Answer:
        """Send body `index`."""
        try:
            self._wire.request("POST", traffic.path, traffic.bodies[index], traffic.headers)
            answer = self._wire.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self._wire.close()
            raise ConnectionError(f"no answer: {type(error).__name__}") from error

    def close(self) -> None:
        """Let go of the connection."""
        self._wire.close()


class GrpcClient:
    """One unary method over one channel, messages as bytes."""

    def __init__(self, port: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)

    def ask(self, traffic: Traffic, index: int) -> Answer:
        """Send body `index`; a gRPC status other than OK becomes one that is not 200."""
        call = self._channel.unary_unary(traffic.path)
        metadata = [(name.lower(), value) for name, value in traffic.headers.items()]
        try:
            return Answer(200, {}, call(traffic.bodies[index], timeout=TIMEOUT_S, metadata=metadata))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError("no answer: UNAVAILABLE") from error
            return Answer(500, {}, f"{error.code().name}: {error.details()}".encode())

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()


def connect(port: int, traffic: Traffic) -> Client:
    """A client of the traffic's protocol."""
    return GrpcClient(port) if traffic.grpc else HttpClient(port)
