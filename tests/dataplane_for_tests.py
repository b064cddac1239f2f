"""A real data plane for tests: the supervisor's process, its workers, and the snapshots a local target would write."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from penstock.log.tail import Tail
from penstock.records import Exchange, Grant, Route, Snapshot, Variant, WorkerStatus, decode, encode
from penstock.serve.snapshots import FILE, write_whole


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)


class DataPlane:
    """Started with `start`; everything else talks to the processes that run then."""

    def __init__(self, home: Path) -> None:
        self.run = home / "run"
        self.log = home / "log"
        self.number = 0
        self.packages: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.grpc_port = 0

    def start(self, *options: str, workers: int = 2) -> DataPlane:
        command = [sys.executable, "-m", "penstock.serve", "--run-dir", str(self.run), "--log-dir", str(self.log)]
        (self.run / "supervisor.json").unlink(missing_ok=True)
        self.process = subprocess.Popen([*command, "--workers", str(workers), *options])
        until((self.run / "supervisor.json").exists)
        said = json.loads((self.run / "supervisor.json").read_bytes())
        self.port, self.grpc_port = said["port"], said.get("grpc", 0)
        return self

    def add(self, builder: Callable[..., str], folder: Path, **options: object) -> str:
        digest = builder(folder, **options)
        self.packages[digest] = str(folder)
        return digest

    def write(self, *routes: Route, grants: tuple[Grant, ...] = ()) -> int:
        self.number += 1
        snapshot = Snapshot(number=self.number, routes=routes, packages=self.packages, grants=grants)
        write_whole(self.run / FILE, encode(snapshot))
        return self.number

    def statuses(self) -> list[WorkerStatus]:
        found = []
        for path in sorted((self.run / "workers").glob("[0-9]*.json")):
            try:
                found.append(decode(path.read_bytes(), WorkerStatus))
            except FileNotFoundError:
                continue
        return [one for one in found if not one.draining]

    def settled(self, *, workers: int = 2) -> None:
        """Wait until all workers answer by the newest snapshot."""

        def there() -> bool:
            statuses = self.statuses()
            return len(statuses) >= workers and all(one.snapshot == self.number for one in statuses)

        until(there)

    def warm(self, digest: str, *, workers: int = 2) -> None:
        """Wait until all workers hold a package."""
        until(lambda: sum(digest in one.ready for one in self.statuses()) >= workers)

    def ask(self, method: str, path: str, body: bytes | str = b"", headers: dict[str, str] | None = None) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body or None, headers or {})
            answer = connection.getresponse()
            return Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes, *, wait_s: float = 3.0) -> bytes:
        """Send bytes as they are; what comes back until the server closes or `wait_s` is over."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait_s) as wire:
            answer = b""
            try:
                wire.sendall(data)
                while chunk := wire.recv(65536):
                    answer += chunk
            except (TimeoutError, ConnectionError):
                pass
            return answer

    def exchanges(self) -> list[Exchange]:
        tail = Tail(self.log, Exchange)
        found = tail.read()
        assert not tail.damaged
        return found

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def route(endpoint: str, digest: str, *, version: int = 1, **options: object) -> Route:
    """All of an endpoint's traffic to one package."""
    variant = Variant(name="stable", model=endpoint, version=version, digest=digest)
    return Route(endpoint=endpoint, release=version, variants=(variant,), **options)  # type: ignore[arg-type]


def v2(rows: list[list[float]], **more: object) -> str:
    """A V2 body for `linear_package`."""
    tensor = {"name": "X", "shape": [len(rows), len(rows[0])], "datatype": "FP32", "data": rows}
    return json.dumps({"inputs": [tensor], **more})


def until(condition: Callable[[], bool], *, seconds: float = 90.0) -> None:
    """Wait for something that must come; the time is a busy machine's."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Neither gone nor a body that nobody buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
