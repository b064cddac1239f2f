"""Clients that never retry and keep everything: closed loops over HTTP and gRPC, in a process of their own.

    Load(port) -> a process with clients -> Answer (begun, ended, version, id) | Lost (why) of every request

One request a connection at a time, so each lost connection is at most one lost request. What the server counted can
then be held against what the clients saw: `difference`.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from dataplane_for_tests import DataPlane, v2
from penstock.serve.meters import Label

try:
    import grpc
    import grpc.aio
except ImportError:
    grpc = None

TESTS = Path(__file__).parents[1]
ROW = [1.0, 2.0, 3.0, 4.0]
BODY = v2([ROW]).encode()
PATH = "/v2/models/linear/infer"
PATIENCE_S = 30.0


class Answer(NamedTuple):
    """A request that ended in a prediction."""

    kind: str
    begun: float
    ended: float
    version: str
    id: str


class Reply(NamedTuple):
    """What came over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        return self.headers.get("connection") == "close"


class Wire:
    """One HTTP connection, opened when it is needed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Reply:
        """Send one request as it is and read its answer.

        Raises:
            ConnectionRefusedError: Nobody listens.
            OSError: The connection ended before the answer did.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        try:
            writer.write(request)
            reply = await asyncio.wait_for(read_reply(reader), PATIENCE_S)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            raise ConnectionResetError(repr(error)) from None
        if reply.last:
            self.close()
        return reply

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """One answer with a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(head[0].split()[1]), headers, body)


def post(path: str = PATH, body: bytes = BODY, *headers: str) -> bytes:
    """A request's bytes."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Load:
    """Closed-loop clients in a process of their own, until the block ends: what a test does meanwhile is not felt.

    Args:
        port: Of the HTTP listener.
        clients: How many of each kind: ``keep`` keeps its connection, ``new`` opens one a request, ``grpc`` calls,
            ``stream`` sends over one stream.
        grpc_port: Where the gRPC listener is; its clients are left out where there is none.
        request: What the HTTP clients send.
        pause_s: Between a client's requests.
    """

    def __init__(
        self,
        port: int,
        clients: dict[str, int] | None = None,
        *,
        grpc_port: int = 0,
        request: bytes | None = None,
        pause_s: float = 0.0,
    ) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self.lost: list[str] = []
        self.refused = 0
        self.reopened = 0
        kinds = clients or {"keep": 3, "new": 1, "grpc": 2, "stream": 1}
        self._order = Order(port, grpc_port, kinds, request or post(), pause_s)
        self._reader = threading.Thread(target=self._read, name="load")

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.clients_for_tests", msgspec.json.encode(self._order).decode()],
            env=beside_us(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join()
        assert self._process.wait() == 0, "the clients themselves failed"

    @property
    def kinds(self) -> Counter[str]:
        return Counter(one.kind for one in self.answers)

    def wait(self, count: int, *, seconds: float = 300.0) -> None:
        """Until so many answers are there, or something failed."""
        end = time.monotonic() + seconds
        while len(self.answers) < count and not self.failures and time.monotonic() < end:
            time.sleep(0.05)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = msgspec.json.decode(line, type=Said)
            self.answers += said.answers
            self.failures += said.failures
            self.lost += said.lost
            self.refused += said.refused
            self.reopened += said.reopened


class Order(NamedTuple):
    """What the clients' process is told; see `Load`."""

    port: int
    grpc_port: int
    clients: dict[str, int]
    request: bytes
    pause_s: float


class Said(msgspec.Struct):
    """What it says of the moment before."""

    answers: list[Answer] = []
    failures: list[str] = []
    lost: list[str] = []
    refused: int = 0
    reopened: int = 0


class Clients:
    """The clients, in their process."""

    def __init__(self, order: Order) -> None:
        self.port = order.port
        self.grpc_port = order.grpc_port
        self._clients = order.clients
        self._request = order.request
        self._pause_s = order.pause_s
        self._over = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self.lost: list[str] = []
        self.refused = 0
        self.reopened = 0

    async def run(self) -> None:
        """Until nobody holds the other end of the standard input."""
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self._over.set)
        telling = loop.create_task(self._tell())
        await self._all()
        telling.cancel()
        self._say()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._say()

    def _say(self) -> None:
        said = Said(self.answers, self.failures, self.lost, self.refused, self.reopened)
        self._forget()
        sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
        sys.stdout.buffer.flush()

    async def _all(self) -> None:
        kinds: dict[str, Callable[[], Coroutine[None, None, None]]] = {"keep": self._keep, "new": self._new}
        if self.grpc_port and grpc is not None:
            kinds |= {"grpc": self._grpc, "stream": self._stream}
        await asyncio.gather(*(kinds[kind]() for kind, n in self._clients.items() if kind in kinds for _ in range(n)))

    async def _keep(self) -> None:
        wire = Wire(self.port)
        while not self._over.is_set():
            await self._http(wire, "keep")
        wire.close()

    async def _new(self) -> None:
        while not self._over.is_set():
            wire = Wire(self.port)
            await self._http(wire, "new")
            wire.close()

    async def _http(self, wire: Wire, kind: str) -> None:
        begun = time.monotonic()
        try:
            reply = await wire.ask(self._request)
        except ConnectionRefusedError:
            self.refused += 1
            self.failures.append("refused")
        except (OSError, TimeoutError, ValueError) as error:
            self.lost.append(f"{kind}: {error!r}")
        else:
            if reply.status == 200:
                headers = reply.headers
                ended = time.monotonic()
                self.answers.append(Answer(kind, begun, ended, headers["x-model-version"], headers["x-prediction-id"]))
            else:
                self.failures.append(f"{kind}: {reply.status} {reply.body[:200]!r}")
        await asyncio.sleep(self._pause_s)

    async def _grpc(self) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}", options=ONE_CHANNEL) as channel:
            call = channel.unary_unary(f"{SERVICE}/ModelInfer")
            while not self._over.is_set():
                begun = time.monotonic()
                try:
                    text = await call(INFER, timeout=PATIENCE_S)
                except grpc.aio.AioRpcError as error:
                    self._ended("grpc", error)
                else:
                    self._called("grpc", begun, text)
                await asyncio.sleep(self._pause_s)

    async def _stream(self) -> None:
        """A few hundred requests a stream, one after the other."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.grpc_port}", options=ONE_CHANNEL) as channel:
            while not self._over.is_set():
                stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")()
                try:
                    await self._over_stream(stream)
                except grpc.aio.AioRpcError as error:
                    self._ended("stream", error)

    async def _over_stream(self, stream: grpc.aio.StreamStreamCall) -> None:
        """One request after the other; a stream that the server ended between two of them is no failure."""
        for _ in range(200):
            if stream.done() or self._over.is_set():
                self.reopened += stream.done()
                break
            begun = time.monotonic()
            try:
                await stream.write(INFER)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                # The library would not write: nothing was sent.
                self.reopened += 1
                break
            text = await asyncio.wait_for(stream.read(), PATIENCE_S)
            if text is grpc.aio.EOF:
                await stream  # raises how it ended
                self.failures.append(f"stream: ended with {await stream.code()} and no answer")
                return
            message = fields(text)
            if 1 in message:
                self.failures.append(f"stream: {message[1]!r}")
            else:
                self._called("stream", begun, message[2])
            await asyncio.sleep(self._pause_s)
        if not stream.done():
            await stream.done_writing()
            while await stream.read() is not grpc.aio.EOF:
                self.failures.append("stream: an answer too many")

    def _ended(self, kind: str, error: grpc.aio.AioRpcError) -> None:
        """A call that ended in an error: its connection was lost, or it was answered so."""
        why = f"{kind}: {error.code()} {error.details()}"
        if "refused" in why or "failed to connect" in why:
            self.refused += 1
        lost = error.code() is grpc.StatusCode.UNAVAILABLE and "Stream removed" in why and "GOAWAY" not in why
        (self.lost if lost else self.failures).append(why)

    def _called(self, kind: str, begun: float, text: bytes) -> None:
        message = fields(text)
        self.answers.append(Answer(kind, begun, time.monotonic(), message[2].decode(), message.get(3, b"").decode()))


# -- a little of protobuf, so that no generated code of the server's own side is trusted

SERVICE = "/inference.GRPCInferenceService"
# No policy of retries. What the library does by itself stays: a call that it never sent, because it read a GOAWAY
# between picking a connection and using it, goes over another one (gRFC A6, transparent retries).
ONE_CHANNEL = (("grpc.use_local_subchannel_pool", 1),)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def infer_message(name: str = "linear") -> bytes:
    """A ModelInferRequest of one FP32 row in raw bytes."""
    tensor = _field(1, b"X") + _field(2, b"FP32") + _field(3, bytes([1, 4]))
    return _field(1, name.encode()) + _field(5, tensor) + _field(7, struct.pack("<4f", *ROW))


def fields(text: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message, the last of each number."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(text):
        key, at = _varint(text, at)
        size, at = _varint(text, at)
        if key & 7 == 2:
            found[key >> 3] = text[at : at + size]
            at += size
    return found


def _varint(text: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (text[at] & 127) << shift
        shift += 7
        at += 1
        if not text[at - 1] & 128:
            return value, at


INFER = infer_message()


# -- what the server says of itself


def counted(plane: DataPlane) -> dict[Label, int]:
    """The server's own counts of requests, over all workers, by the official parser of what it exposes."""
    text = plane.ask("GET", "/metrics").body.decode()
    found: dict[Label, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "penstock_requests_total":
                labels = {name: sample.labels.get(name, "") for name in Label._fields}
                label = Label(**labels)
                found[label] = found.get(label, 0) + int(sample.value)
    return found


def versions_counted(plane: DataPlane, *, code: str = "ok") -> Counter[str]:
    """Requests that ended in `code`, by version."""
    found: Counter[str] = Counter()
    for label, count in counted(plane).items():
        if label.code == code:
            found[label.version] += count
    return found


def difference(one: Counter[str], other: Counter[str]) -> int:
    """How far two counts are apart, summed over what they count."""
    return sum(abs(one[key] - other[key]) for key in one.keys() | other.keys())


def beside_us() -> dict[str, str]:
    """Variables with which another process finds what tests share."""
    paths = os.pathsep.join(str(path) for path in (TESTS.parent, TESTS, os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": paths}


@contextmanager
def loaded(plane: DataPlane, clients: dict[str, int] | None = None, **options: float) -> Iterator[Load]:
    """`Load` on a data plane, and its gRPC port where it has one."""
    with Load(plane.port, clients, grpc_port=plane.grpc_port, **options) as load:  # type: ignore[arg-type]
        load.wait(1, seconds=10)
        yield load


if __name__ == "__main__":
    uvloop.run(Clients(msgspec.json.decode(sys.argv[1], type=Order)).run())
