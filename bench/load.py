"""A closed loop of keep-alive clients in one thread, for machines without ``wrk``: slower, but the same question.

Sends each body in turn over N connections; a connection asks again when it has its answer.
"""

from __future__ import annotations

import selectors
import socket
import time
from typing import NamedTuple


class Measured(NamedTuple):
    """Requests answered with 200 in `seconds`, others, and latencies in seconds, sorted."""

    answered: int
    failed: int
    seconds: float
    latencies_s: list[float]

    def quantile(self, share: float) -> float:
        return self.latencies_s[min(int(share * len(self.latencies_s)), len(self.latencies_s) - 1)]


class _Client:
    def __init__(self, port: int) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port))
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answer = b""
        self.sent_at = 0.0

    def ask(self, request: bytes) -> None:
        self.answer = b""
        self.sent_at = time.perf_counter()
        self.wire.sendall(request)

    def hear(self) -> bool:
        """Take bytes; whether the answer is whole."""
        self.answer += self.wire.recv(65536)
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return len(body) >= length


def load(port: int, requests: list[bytes], *, connections: int, seconds: float) -> Measured:
    """Ask for `seconds` over `connections`, each request in turn."""
    selector = selectors.DefaultSelector()
    clients = [_Client(port) for _ in range(connections)]
    turn = failed = 0
    latencies: list[float] = []
    started = time.perf_counter()
    for client in clients:
        selector.register(client.wire, selectors.EVENT_READ, client)
        client.ask(requests[turn % len(requests)])
        turn += 1
    while time.perf_counter() - started < seconds:
        for key, _ in selector.select(0.1):
            client = key.data
            if not client.hear():
                continue
            latencies.append(time.perf_counter() - client.sent_at)
            failed += not client.answer.startswith(b"HTTP/1.1 200")
            client.ask(requests[turn % len(requests)])
            turn += 1
    taken = time.perf_counter() - started
    for client in clients:
        client.wire.close()
    return Measured(len(latencies) - failed, failed, taken, sorted(latencies))
