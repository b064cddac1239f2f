"""A closed loop of keep-alive clients, in a process of its own, so that who measures does not slow who is measured.

    standard input: an order (JSON), then its requests   ->   standard output: a tally (JSON line), then latencies

A connection asks again when it has its answer. Standard library only: it starts in the time of an interpreter.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from array import array
from typing import IO, NamedTuple

MODULE = "penstock.tuning.driver"
_LENGTH = b"content-length: "


class Sample(NamedTuple):
    """What one stretch of load showed.

    Attributes:
        latencies_s: Of the requests that were answered with 200.
        failed: Requests answered otherwise, or not at all.
        seconds: How long it lasted.
        busy: The part of it that the clients' own process was at work.
    """

    latencies_s: array[float]
    failed: int
    seconds: float
    busy: float


class Driver:
    """The process, and one order after another.

    Args:
        port: Of the data plane on this machine.
        requests: Whole HTTP requests, asked in turn.
    """

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        _write_parts(self._process.stdin, requests)

    def drive(self, connections: int, seconds: float) -> Sample:
        """Load the port for a while.

        Raises:
            EOFError: The clients' process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([connections, seconds]).encode() + b"\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        if not told:
            raise EOFError
        count, failed, taken, busy = json.loads(told)
        latencies = array("d")
        latencies.frombytes(self._process.stdout.read(8 * count))
        return Sample(latencies, failed, taken, busy)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class _Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port))
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.wire.setblocking(False)
        self.sent_at = 0.0
        self._left = memoryview(b"")
        self._answer = b""
        self._whole = 0

    def ask(self, request: bytes) -> bool:
        """Begin to send; whether all of it has left."""
        self.sent_at = time.perf_counter()
        self._left = memoryview(request)
        self._answer = b""
        self._whole = 0
        return self.send()

    def send(self) -> bool:
        """Send on; whether all of it has left."""
        try:
            self._left = self._left[self.wire.send(self._left) :]
        except BlockingIOError:
            return False
        return not self._left

    def hear(self) -> int | None:
        """The status of the answer when it is whole; 0 where the connection has ended."""
        try:
            data = self.wire.recv(1 << 18)
        except BlockingIOError:
            return None
        except OSError:
            return 0
        if not data:
            return 0
        answer = self._answer = self._answer + data if self._answer else data
        if not self._whole:
            head = answer.find(b"\r\n\r\n")
            if head < 0:
                return None
            at = answer.lower().find(_LENGTH, 0, head) + len(_LENGTH)
            self._whole = head + 4 + int(answer[at : answer.find(b"\r", at)])
        return int(answer[9:12]) if len(answer) >= self._whole else None


class _Round:
    """One order at work."""

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self._port = port
        self._requests = requests
        self._turn = 0
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.latencies_s = array("d")
        self.failed = 0
        for _ in range(connections):
            self._join()

    def run(self, seconds: float) -> float:
        """Until the time is over; how long it took."""
        started = time.perf_counter()
        end = started + seconds
        now = started
        while now < end and self._clients:
            for number, _ in self._poll.poll(0.1, 256):
                self._serve(number)
            now = time.perf_counter()
        for client in self._clients.values():
            client.wire.close()
        self._poll.close()
        return now - started

    def _join(self) -> None:
        client = _Client(self._port)
        self._clients[client.wire.fileno()] = client
        self._poll.register(client.wire.fileno(), select.EPOLLIN)
        self._ask(client)

    def _ask(self, client: _Client) -> None:
        request = self._requests[self._turn % len(self._requests)]
        self._turn += 1
        if not client.ask(request):
            self._poll.modify(client.wire.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _serve(self, number: int) -> None:
        client = self._clients[number]
        if client._left:
            if client.send():
                self._poll.modify(number, select.EPOLLIN)
            return
        status = client.hear()
        if status is None:
            return
        if status == 200:
            self.latencies_s.append(time.perf_counter() - client.sent_at)
        else:
            self.failed += 1
        if status:
            self._ask(client)
            return
        # The server has closed the connection: another takes its place.
        self._poll.unregister(number)
        client.wire.close()
        del self._clients[number]
        self._join()


def main() -> None:
    """Follow orders until standard input ends."""
    port = int(sys.argv[1])
    requests = _read_parts(sys.stdin.buffer)
    for line in sys.stdin.buffer:
        connections, seconds = json.loads(line)
        at_work = time.process_time()
        one = _Round(port, requests, connections)
        taken = one.run(seconds)
        busy = (time.process_time() - at_work) / taken
        tally = [len(one.latencies_s), one.failed, taken, busy]
        sys.stdout.buffer.write(json.dumps(tally).encode() + b"\n" + one.latencies_s.tobytes())
        sys.stdout.buffer.flush()


def _write_parts(pipe: IO[bytes], parts: list[bytes]) -> None:
    pipe.write(struct.pack("<I", len(parts)))
    for part in parts:
        pipe.write(struct.pack("<I", len(part)) + part)
    pipe.flush()


def _read_parts(pipe: IO[bytes]) -> list[bytes]:
    def number() -> int:
        return int(struct.unpack("<I", pipe.read(4))[0])

    return [pipe.read(number()) for _ in range(number())]


if __name__ == "__main__":
    main()
