"""A client that reads nothing for a while: answers that leave at once meet a full socket, and arrive all the same."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from listener_for_tests import Listener, route
from packages_for_tests import linear_package
from penstock.serve.listeners.http import HttpConnection

ANSWERS = 120
BUFFER = 4096
ID_BYTES = 1200
"""The caller's own id comes back in the answer, so that a few of them fill the socket."""
LIMIT_S = 20.0


class DirectWrites:
    """What `os.write` was given for sockets; of every third only half goes on, as a kernel may do at any time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.whole = self.halves = 0
        self._write = os.write
        monkeypatch.setattr(os, "write", self._counted)

    def _counted(self, descriptor: int, data: bytes) -> int:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return self._write(descriptor, data)
        if (self.whole + self.halves) % 3 == 2:
            self.halves += 1
            return self._write(descriptor, data[: len(data) // 2])
        self.whole += 1
        return self._write(descriptor, data)


class Watched(HttpConnection):
    """A connection whose transport can be looked at."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.seen = transport
        super().connection_made(transport)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectWrites]:
    return DirectWrites(monkeypatch)


def request(number: int) -> bytes:
    """All of one length, so that only the first brings a new head: those after it are answered at once."""
    tensor = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [100.0 + number, 0.0, 0.0, -40.0]}
    body = json.dumps({"inputs": [tensor], "id": f"n{number:03}-".ljust(ID_BYTES, "x")}).encode()
    return b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def read_answer(wire: asyncio.StreamReader) -> dict:
    head = (await wire.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 200 "), head
    lengths = [line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:")]
    return json.loads(await wire.readexactly(int(lengths[0])))


async def ask_and_read_later(folder: Path, writes: DirectWrites) -> list[dict]:
    listener = Listener(folder)
    digest = linear_package(folder / "package")
    await listener.show(route("linear", digest), packages={digest: str(folder / "package")})
    loop = asyncio.get_running_loop()
    door = socket.create_server(("127.0.0.1", 0))
    door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)  # what it accepts has the same
    watched: list[Watched] = []

    def connect() -> Watched:
        watched.append(Watched(listener.state))
        return watched[-1]

    server = await loop.create_server(connect, sock=door)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    client.setblocking(False)
    try:
        await loop.sock_connect(client, door.getsockname())
        asked = [request(number) for number in range(ANSWERS)]
        while len(asked) > 2 * ANSWERS // 3:
            await loop.sock_sendall(client, asked.pop(0))
            await asyncio.sleep(0.005)
            if writes.halves and watched[0].seen.get_write_buffer_size():
                break
        assert watched[0].seen.get_write_buffer_size(), "the socket was never full"
        # It reads a little now and then, so that there is room in the socket while other answers wait before it.
        reader = asyncio.StreamReader(limit=1 << 20)
        while len(asked) > ANSWERS // 3:
            await loop.sock_sendall(client, asked.pop(0))
            reader.feed_data(await loop.sock_recv(client, 2000))
            await asyncio.sleep(0.005)
        # The rest is pipelined, more than is taken before the client reads.
        sending = asyncio.create_task(loop.sock_sendall(client, b"".join(asked)))
        await asyncio.sleep(0.3)
        reading = asyncio.create_task(pour(client, reader))
        answers = [await read_answer(reader) for _ in range(ANSWERS)]
        await sending
        client.shutdown(socket.SHUT_WR)
        await reading
        assert await reader.read() == b"", "nothing twice"
        return answers
    finally:
        client.close()
        server.close()
        await asyncio.sleep(0)
        listener.close()


async def pour(client: socket.socket, into: asyncio.StreamReader) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, 1 << 16):
        into.feed_data(data)
    into.feed_eof()


def test_a_client_that_reads_late_gets_every_byte_in_order(tmp_path: Path, writes: DirectWrites) -> None:
    async def bounded() -> list[dict]:
        async with asyncio.timeout(LIMIT_S):
            return await ask_and_read_later(tmp_path, writes)

    answers = uvloop.run(bounded())
    assert [one["id"] for one in answers] == [f"n{number:03}-".ljust(ID_BYTES, "x") for number in range(ANSWERS)]
    chances = [one["outputs"][1]["data"][1] for one in answers]
    assert chances == sorted(chances)
    assert chances[0] < chances[5], "each its own"
    assert writes.whole
    assert writes.halves
