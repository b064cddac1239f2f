"""The HTTP listener and all behind it in this process, on a wire that remembers: for thousands of requests."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import NamedTuple

from penstock.adapters import TABLE, load
from penstock.log.journal import Journal, read_segment
from penstock.log.tail import Tail
from penstock.records import Exchange, Grant, Route, Snapshot, Variant
from penstock.serve.board import Board
from penstock.serve.flow import Flow
from penstock.serve.listeners.http import HttpConnection, HttpState
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.meters import Meters
from penstock.serve.models import Shelf
from penstock.serve.recorder import Recorder
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Desk

PATIENCE_S = 20.0
OWN_ID = re.compile(rb"x-prediction-id: ([0-9a-f]+)")


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def write_eof(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


class Heard(NamedTuple):
    """An answer, our ids taken out of it."""

    status: int
    head: bytes
    body: bytes


class Client:
    """One connection."""

    def __init__(self, state: HttpState) -> None:
        self.wire = Wire()
        self.connection = HttpConnection(state)
        self.connection.connection_made(self.wire)

    def send(self, path: str, body: bytes, lines: str = "") -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self.connection.data_received(head.encode() + body)

    async def hear(self) -> Heard:
        until = time.monotonic() + PATIENCE_S
        while not self.wire.written and time.monotonic() < until:
            await asyncio.sleep(0)
        whole = b"".join(self.wire.written)
        self.wire.written.clear()
        found = OWN_ID.search(whole)
        head, _, body = whole.replace(found[1] if found else b"ID", b"ID").partition(b"\r\n\r\n")
        return Heard(int(head[9:12]), re.sub(rb"content-length: \d+", b"", head), body)

    async def ask(self, path: str, body: bytes, lines: str = "") -> Heard:
        self.send(path, body, lines)
        return await self.hear()


class Listener:
    """A board with a snapshot, and clients on demand."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.board = Board(loopback=True)
        self.shelf = Shelf(None, None)
        self.meters = Meters(folder / "meters" / "worker-1.meter")
        recorder = Recorder(Journal(self.log, "worker-1"), self.meters)
        self.protocols = tuple(load(kind, name)() for kind in ("protocol", "service") for name in TABLE[kind])
        self.flow = Flow(self.board, Desk(recorder, self.meters), self.protocols)
        self.state = HttpState(self.flow, LoopTurn(recorder), HttpLimits())
        self._number = 0
        self._tail = Tail(self.log, Exchange)

    async def show(self, *routes: Route, packages: dict[str, str], grants: tuple[Grant, ...] = ()) -> None:
        """Make a snapshot live."""
        self._number += 1
        snapshot = Snapshot(number=self._number, routes=routes, packages=packages, grants=grants)
        assert await self.shelf.ensure(packages), self.shelf.failed
        self.shelf.settle(snapshot)
        self.board.announce(snapshot)
        self.board.move(self.board.lay(snapshot, self.shelf.models), snapshot.number)
        self.board.settled = True

    def client(self) -> Client:
        return Client(self.state)

    def exchanges(self) -> list[Exchange]:
        return self._tail.read()

    def frames(self) -> int:
        return sum(len(read_segment(path)[0]) for path in self.log.glob("*.wal"))

    def close(self) -> None:
        self.shelf.close()
        self.flow.desk.recorder.close()


def route(endpoint: str, *digests: str, shares: tuple[float, ...] = (1.0,), **more: object) -> Route:
    variants = tuple(
        Variant(name=f"v{number}", model="m", version=number, digest=digest, share=share)
        for number, (digest, share) in enumerate(zip(digests, shares, strict=True), 1)
    )
    return Route(endpoint=endpoint, release=1, variants=variants, **more)  # type: ignore[arg-type]
