"""What a turn of requests costs in one process: listener, checks, engine, counters, journal, all but the socket.

    rows -> HttpConnection.data_received, one a connection -> the turn ends -> answers into the void; microseconds

Source trees are compared by naming them: a process of each takes a block of turns, then the next one, so that what else
this machine does hits neighbouring blocks alike; each ratio is the median over neighbours. ``TREE:off`` does not log.

    python bench/limits/turns.py PACKAGE ROWS.npy CONNECTIONS TREE[:off] [TREE[:off] ...]
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import uvloop

from penstock.access.tokens import token_sha256
from penstock.adapters import TABLE, load
from penstock.log.journal import Journal
from penstock.packages.digests import named, sha256_bytes
from penstock.packages.manifest import MANIFEST, read_manifest
from penstock.records import Grant, Limits, Route, Snapshot, Variant
from penstock.serve.board import Board
from penstock.serve.flow import Flow
from penstock.serve.listeners.http import HttpConnection, HttpState
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.meters import Meters
from penstock.serve.models import Shelf
from penstock.serve.recorder import Recorder
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Desk

BLOCKS = 60
TURNS = 60
BLOCK = "block"
"""The argument by which a process of one tree is told from the one that compares."""
TOKEN = "pst_bench-" + "a" * 38


class Void(asyncio.Transport):
    """A client that takes every answer."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Count it."""
        self.taken += len(data)

    def pause_reading(self) -> None:
        """Nothing comes unasked."""

    def resume_reading(self) -> None:
        """The same."""


async def listen(folder: Path, package: Path, *, log: bool) -> HttpState:
    """A listener as a worker has it, with one endpoint that wants a token."""
    meters = Meters(folder / "meters" / "worker-1.meter")
    recorder = Recorder(Journal(folder / "log", "worker-1") if log else None, meters)
    board, shelf = Board(loopback=True), Shelf(None, None)
    shelf.count(meters)
    name, digest = read_manifest(package).name, named(sha256_bytes((package / MANIFEST).read_bytes()))
    variant = Variant(name="stable", model=name, version=1, digest=digest)
    route = Route(endpoint=name, release=1, variants=(variant,), limits=Limits(log="normal" if log else "off"))
    grant = Grant(token_sha256=token_sha256(TOKEN), subject="token-file", permissions=("predict",))
    snapshot = Snapshot(number=1, routes=(route,), packages={digest: str(package)}, grants=(grant,))
    if not await shelf.ensure(snapshot.packages):
        raise SystemExit(str(shelf.failed))
    board.announce(snapshot)
    board.move(board.lay(snapshot, shelf.models), 1)
    board.settled = True
    flow = Flow(board, Desk(recorder, meters), tuple(load("protocol", name)() for name in TABLE["protocol"]))
    return HttpState(flow, LoopTurn(recorder), HttpLimits())


def requests(package: Path, rows: Path) -> list[bytes]:
    """The rows as V2 JSON, with the head of a client that keeps its connection."""
    manifest = read_manifest(package)
    spec = manifest.signature.inputs[0]
    head = f"POST /v2/models/{manifest.name}/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    made: list[bytes] = []
    for row in np.load(rows).tolist():
        data = [round(value, 4) for value in row]
        tensor = {"name": spec.name, "shape": [1, len(row)], "datatype": spec.datatype, "data": data}
        body = msgspec.json.encode({"inputs": [tensor]})
        made.append(head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    return made


async def answer_blocks(folder: Path, package: Path, rows: Path, *, connections: int, log: bool) -> None:
    """A block of turns for each line that comes in; prints the middle turn's microseconds a request."""
    state = await listen(folder, package, log=log)
    asked = requests(package, rows)
    clients = [(HttpConnection(state), Void()) for _ in range(connections)]
    for connection, void in clients:
        connection.connection_made(void)
    for data in asked:  # so that every head is known
        clients[0][0].data_received(data)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    at = 0
    while sys.stdin.readline().strip():
        took: list[float] = []
        before = sum(void.taken for _, void in clients)
        for _ in range(TURNS):
            start = time.perf_counter()
            for connection, _ in clients:
                connection.data_received(asked[at % len(asked)])
                at += 1
            await asyncio.sleep(0)
            took.append(time.perf_counter() - start)
        if sum(void.taken for _, void in clients) - before < 100 * TURNS * connections:
            raise SystemExit("not every request was answered in its turn: this machine is too busy for an inline model")
        print(median(took) / connections * 1e6, flush=True)


def compare(given: list[str], trees: list[str]) -> None:
    """Blocks of all trees in turns; prints each one's median and smallest microseconds, and its ratio to the first."""
    processes: list[subprocess.Popen[str]] = []
    for tree in trees:
        source, _, mode = tree.partition(":")
        command = [sys.executable, __file__, BLOCK, *given, mode]
        environment = {**os.environ, "PYTHONPATH": str(Path(source).resolve() / "src")}
        processes.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        )
    figures: list[list[float]] = [[] for _ in trees]
    for block in range(BLOCKS):
        order = list(zip(processes, figures, strict=True))
        for process, found in reversed(order) if block % 2 else order:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            found.append(float(process.stdout.readline()))
    for process in processes:
        process.communicate("\n")
    for tree, found in zip(trees, figures, strict=True):
        ratio = median(one / first for one, first in zip(found, figures[0], strict=True))
        print(f"{tree}: {median(found):.1f} us a request, at best {min(found):.1f}, {ratio:.3f} of the first")


def main(given: list[str]) -> None:
    """Compare, or be compared."""
    if given[0] != BLOCK:
        compare(given[:3], given[3:])
        return
    _, package, rows, connections, mode = given
    with TemporaryDirectory(prefix="turns-") as folder:
        log = mode != "off"
        uvloop.run(answer_blocks(Path(folder), Path(package), Path(rows), connections=int(connections), log=log))


if __name__ == "__main__":
    main(sys.argv[1:])
