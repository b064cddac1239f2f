"""A gRPC listener in this process, with limits of its own, and a client that can break every rule of HTTP/2.

The client is built on hyperframe and hpack, which share no code with the listener's own framing.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import grpc
import hpack
import uvloop
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from dataplane_for_tests import route
from packages_for_tests import linear_package
from penstock.adapters import TABLE, load
from penstock.records import Snapshot
from penstock.serve.board import Board
from penstock.serve.flow import Flow
from penstock.serve.listeners.door import Door
from penstock.serve.listeners.grpc import GrpcState
from penstock.serve.listeners.http2_limits import Http2Limits
from penstock.serve.meters import Meters
from penstock.serve.models import Shelf
from penstock.serve.protos.messages import message
from penstock.serve.recorder import Recorder
from penstock.serve.sockets import listen
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Desk

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIVE = "/inference.GRPCInferenceService/ServerLive"
INFER = "/inference.GRPCInferenceService/ModelInfer"
EMPTY = b"\0\0\0\0\0"
FRAMES = (
    ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, PushPromiseFrame,
    RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)  # fmt: skip


class GrpcPlace:
    """The listener on a thread of its own, with `linear` behind it."""

    def __init__(self, folder: Path, limits: Http2Limits | None = None) -> None:
        self.limits = limits or Http2Limits()
        self.faults: list[dict[str, object]] = []
        self._folder = folder
        self._socket = listen("127.0.0.1", 0)
        self.port: int = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._live()))

    def __enter__(self) -> GrpcPlace:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)
        self._socket.close()
        assert not self.faults, self.faults

    def on_loop(self, work: Callable[[], object]) -> object:
        """Do something on the listener's loop."""

        async def doing() -> object:
            return work()

        return asyncio.run_coroutine_threadsafe(doing(), self.loop).result(10)

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        # What no protocol caught ends up here: the listener must never let anything get so far.
        self.loop.set_exception_handler(lambda _, context: self.faults.append(context))
        (self._folder / "meters").mkdir(parents=True, exist_ok=True)
        meters = Meters(self._folder / "meters" / "worker-1.meter")
        self.board = Board(loopback=True)
        self.desk = Desk(Recorder(None, meters), meters)
        shelf = Shelf(None, None)
        digest = linear_package(self._folder / "p")
        snapshot = Snapshot(number=1, routes=(route("linear", digest),), packages={digest: str(self._folder / "p")})
        self.board.announce(snapshot)
        assert await shelf.ensure(snapshot.packages)
        self.board.move(self.board.lay(snapshot, shelf.models), 1)
        self.board.settled = True
        flow = Flow(self.board, self.desk, tuple(load("service", name)() for name in TABLE["service"]))
        self.state = GrpcState(flow, LoopTurn(self.desk.recorder), self.limits)
        door = Door(self.state)
        door.open(self._socket)
        sweeping = self.loop.create_task(door.sweep())
        self._ready.set()
        await self._over.wait()
        door.shut()
        door.close_idle()
        sweeping.cancel()
        for connection in list(self.state.connections):
            if connection.out.transport is not None:
                connection.out.transport.abort()
        await asyncio.sleep(0.05)
        shelf.close()


class Wire:
    """One connection, frame by frame."""

    def __init__(self, port: int, *, greet: bool = True, settings: dict[int, int] | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.ended = False
        self._rest = b""
        if greet:
            self.raw(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())
            frames = self.frames(lambda seen: len([f for f in seen if isinstance(f, SettingsFrame)]) == 2)
            assert isinstance(frames[0], SettingsFrame), "the server's preface is SETTINGS (section 3.4)"
            self.send(SettingsFrame(0, flags=["ACK"]))

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    # -- out

    def raw(self, data: bytes) -> None:
        """Bytes as they are; a server that has closed already is no error here."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.ended = True

    def send(self, *frames: Frame) -> None:
        self.raw(b"".join(frame.serialize() for frame in frames))

    def block(self, path: str = LIVE, *extra: tuple[str, str], without: str = "", **changed: str) -> bytes:
        """A request's header block; `changed` pseudo-headers and headers by name, colon left out."""
        fields = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers",
            "content-type": "application/grpc",
        }  # fmt: skip
        for name, value in changed.items():
            fields[f":{name}" if f":{name}" in fields else name.replace("_", "-")] = value
        fields.pop(without, None)
        return self.encoder.encode([*fields.items(), *extra])

    def head(self, stream: int, path: str = LIVE, *extra: tuple[str, str], end: bool = False, **more: str) -> None:
        flags = ["END_HEADERS", *(["END_STREAM"] if end else [])]
        self.send(HeadersFrame(stream, self.block(path, *extra, **more), flags=flags))

    def data(self, stream: int, data: bytes = EMPTY, *, end: bool = True) -> None:
        self.send(DataFrame(stream, data, flags=["END_STREAM"] if end else []))

    # -- in

    def frames(self, enough: Callable[[list[Frame]], bool], *, seconds: float = 10.0) -> list[Frame]:
        """What comes until it is enough, or the server has closed; too late is a failure."""
        seen: list[Frame] = []
        until = time.monotonic() + seconds
        while not enough(seen):
            while len(self._rest) < 9 or len(self._rest) < 9 + int.from_bytes(self._rest[:3], "big"):
                left = until - time.monotonic()
                assert left > 0, f"the server hangs after {seen}"
                self.socket.settimeout(left)
                try:
                    chunk = self.socket.recv(1 << 20)
                except TimeoutError:
                    continue
                except ConnectionError:
                    chunk = b""
                if not chunk:
                    self.ended = True
                    return seen
                self._rest += chunk
            frame, size = Frame.parse_frame_header(memoryview(self._rest[:9]))
            frame.parse_body(memoryview(self._rest[9 : 9 + size]))
            self._rest = self._rest[9 + size :]
            seen.append(frame)
        return seen

    def until_closed(self, *, seconds: float = 10.0) -> list[Frame]:
        """Everything, to the end of the connection."""
        seen = self.frames(lambda _: self.ended, seconds=seconds)
        assert self.ended
        return seen

    def goaway(self, *, seconds: float = 10.0) -> int:
        """The code with which the server ends the connection."""
        codes = [frame.error_code for frame in self.until_closed(seconds=seconds) if isinstance(frame, GoAwayFrame)]
        assert codes, "closed without a word"
        return int(codes[-1])

    def reset_of(self, stream: int) -> int:
        """The code with which the server ends a stream, the connection going on."""
        seen = self.frames(lambda all_: any(isinstance(f, RstStreamFrame) and f.stream_id == stream for f in all_))
        assert not self.ended, seen
        return int(seen[-1].error_code)

    def answer(self, stream: int) -> tuple[bytes, dict[str, str]]:
        """A call's DATA and its trailers."""
        seen = self.frames(lambda all_: bool(all_) and all_[-1].stream_id == stream and "END_STREAM" in all_[-1].flags)
        assert not self.ended, seen
        fields: dict[str, str] = {}
        data = b""
        for frame in seen:
            if isinstance(frame, HeadersFrame):
                # In the order in which they came: the table is the connection's.
                found = dict(self.decoder.decode(frame.data))
                if frame.stream_id == stream:
                    fields.update(found)
            elif isinstance(frame, DataFrame) and frame.stream_id == stream:
                data += frame.data
        return data, fields

    def call(self, stream: int, path: str = LIVE, body: bytes = b"") -> tuple[bytes, dict[str, str]]:
        """A call as it should be."""
        self.head(stream, path)
        self.data(stream, b"\0" + struct.pack(">I", len(body)) + body)
        return self.answer(stream)

    def alive(self) -> None:
        """The connection still answers."""
        self.send(PingFrame(0, b"12345678"))
        seen = self.frames(lambda all_: any(isinstance(f, PingFrame) and "ACK" in f.flags for f in all_))
        assert not self.ended, seen


def infer_request(rows: int = 1, **more: object) -> bytes:
    """A ModelInferRequest for `linear`, raw."""
    request = message("inference.ModelInferRequest")(model_name="linear", **more)
    request.inputs.add(name="X", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(struct.pack("<f", 0.5) * (4 * rows))
    made: bytes = request.SerializeToString()
    return made


def good_client(port: int) -> None:
    """Somebody else's client is still answered."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = channel.unary_unary(INFER)(infer_request(), timeout=10)
    assert message("inference.ModelInferResponse").FromString(answer).model_name == "linear"
