"""The demo's traffic: flights sent to an endpoint over HTTP in the order they departed, each with its own time.

Comes in: rows of `penstock.demo.flights`. Goes out: real requests on keep-alive connections, and what came
back for each. A failed request is counted and kept, never retried: the demo's figures are the client's truth.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import msgspec
import numpy as np
import pandas as pd
import uvloop

from penstock.demo.flights import LABEL, NUMBERS, TEXTS

OPENING = (
    b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n"
    b"x-routing-key: %b\r\nx-event-time: %d\r\ncontent-length: %d\r\n\r\n"
)
_ENCODE = msgspec.json.Encoder().encode


@dataclass
class ReplayAnswers:
    """What the endpoint answered, by position in the replay.

    Attributes:
        predictions: Prediction id of each answered flight, "" where it failed.
        versions: How many answers each model version gave.
        statuses: HTTP status, or ``reset``, to count.
        failed: By the version that stood in the answer, "?" where none did.
        latencies_s: One entry an answer.
    """

    predictions: list[str]
    versions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    sent: int = 0
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """Latency in seconds that `share` of the answers stayed under; 0 without answers."""
        return float(np.quantile(self.latencies_s, share)) if self.latencies_s else 0.0


@dataclass(frozen=True)
class Flights:
    """Flights as they will be sent: one encoded body each, beside what only the future knows."""

    bodies: list[bytes]
    keys: list[bytes]
    departs: list[int]
    lands: list[float]
    late: list[int]

    def __len__(self) -> int:
        return len(self.bodies)


def prepare(frame: pd.DataFrame) -> Flights:
    """Encode each flight as one Open Inference Protocol request of one row."""
    columns = [(name, "FP64", frame[name].tolist()) for name in NUMBERS]
    columns += [(name, "BYTES", frame[name].tolist()) for name in TEXTS]
    bodies = [
        _ENCODE(
            {
                "inputs": [
                    {"name": name, "datatype": datatype, "shape": [1, 1], "data": [_present(values[row])]}
                    for name, datatype, values in columns
                ]
            }
        )
        for row in range(len(frame))
    ]
    return Flights(
        bodies,
        [str(tail).encode() for tail in frame["tailnum"]],
        [int(at) for at in frame["departs"]],
        frame["lands"].tolist(),
        frame[LABEL].tolist(),
    )


def _present(value: float | str) -> float | str | None:
    """A missing number travels as null: JSON knows no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def replay(
    url: str,
    endpoint: str,
    flights: Flights,
    *,
    connections: int = 16,
    on_progress: Callable[[int, ReplayAnswers], bool],
) -> ReplayAnswers:
    """Send the flights in order; every so often call `on_progress` with how many were sent.

    Args:
        url: Where predictions are answered, ``http://host:port``.
        endpoint: Whose model.
        flights: What to send.
        connections: Kept alive, one request at a time on each.
        on_progress: Called from the replaying loop; False stops it early.
    """
    return uvloop.run(_replay(url, endpoint, flights, connections, on_progress))


async def _replay(
    url: str, endpoint: str, flights: Flights, connections: int, on_progress: Callable[[int, ReplayAnswers], bool]
) -> ReplayAnswers:
    """Share one queue of positions among the connections, until it is empty or nobody wants more."""
    answers = ReplayAnswers(predictions=[""] * len(flights))
    positions = iter(range(len(flights)))
    started = time.perf_counter()
    senders = [
        asyncio.create_task(_send(url, endpoint, flights, positions, answers))
        for _ in range(min(connections, len(flights)))
    ]
    try:
        pending: set[asyncio.Task[None]] = set(senders)
        while pending:
            _, pending = await asyncio.wait(pending, timeout=0.25)
            if not on_progress(answers.sent, answers):
                break
    finally:
        for sender in senders:
            sender.cancel()
        results = await asyncio.gather(*senders, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    answers.seconds = time.perf_counter() - started
    return answers


async def _send(url: str, endpoint: str, flights: Flights, positions: Iterator[int], answers: ReplayAnswers) -> None:
    """One connection's loop: a request, its answer, the next."""
    place = urlsplit(url)
    path = f"/v2/models/{endpoint}/infer".encode()
    connection: _Connection | None = None
    for at in positions:
        body = flights.bodies[at]
        head = OPENING % (path, place.netloc.encode(), flights.keys[at], flights.departs[at], len(body))
        started = time.perf_counter()
        answers.sent = max(answers.sent, at + 1)
        try:
            if connection is None or connection.closed:
                connection = await _connect(place.hostname or "127.0.0.1", place.port or 80)
            await connection.ask(head + body)
        except OSError:
            answers.statuses["reset"] += 1
            answers.failed["?"] += 1
            connection = None
            continue
        answers.latencies_s.append(time.perf_counter() - started)
        _count(answers, at, connection)


def _count(answers: ReplayAnswers, at: int, connection: _Connection) -> None:
    """Book one answer."""
    version = connection.headers.get(b"x-model-version", b"?").decode()
    answers.statuses[str(connection.status)] += 1
    if connection.status == 200:
        answers.versions[version] += 1
        answers.predictions[at] = connection.headers.get(b"x-prediction-id", b"").decode() + ".0"
    else:
        answers.failed[version] += 1


async def _connect(host: str, port: int) -> _Connection:
    """A fresh connection."""
    _, protocol = await asyncio.get_running_loop().create_connection(_Connection, host, port)
    return protocol


class _Connection(asyncio.Protocol):
    """One keep-alive connection that holds one request at a time."""

    def __init__(self) -> None:
        self.closed = False
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._transport: asyncio.WriteTransport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[None] | None = None

    async def ask(self, request: bytes) -> None:
        """Send a request and wait until its answer is complete.

        Raises:
            ConnectionResetError: The other side went away first.
        """
        if self._transport is None or self.closed:
            raise ConnectionResetError
        self.headers = {}
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits that no answer will come."""
        self.closed = True
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header under its lower-case name."""
        self.headers[name.lower()] = value

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.status = self._parser.get_status_code()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
