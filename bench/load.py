"""A closed loop of keep-alive clients: wrk over HTTP/1.1, h2load over HTTP/2; each takes one CPU.

traffic -> file of bodies -> load generator (pinned) -> Load
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.places import HERE
from bench.server import LOAD_CPU
from bench.traffic import Traffic

GRACE_S = 60.0
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux"}
"""Which Debian package brings each tool."""


class Load(NamedTuple):
    """Requests answered with success and not, how long it took, and latencies."""

    answered: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float


def missing_tools(names: list[str]) -> str:
    """How to install those that are not here; empty where all are."""
    missing = sorted({PACKAGES[name] for name in names if shutil.which(name) is None})
    return f"apt-get install {' '.join(missing)}" if missing else ""


def http_load(port: int, traffic: Traffic, *, connections: int, seconds: float, scratch: Path) -> Load:
    """Send the bodies in turn over `connections` for `seconds`, each connection waiting for its answer.

    Raises:
        RuntimeError: wrk said nothing that can be read.
    """
    return _wrk(port, traffic, connections=connections, seconds=seconds, scratch=scratch, pause_ms=0)


def paced_load(port: int, traffic: Traffic, *, connections: int, per_s: float, seconds: float, scratch: Path) -> Load:
    """The same at about `per_s` requests a second: each connection rests after each answer.

    Raises:
        RuntimeError: wrk said nothing that can be read.
    """
    pause_ms = max(int(1000 * connections / per_s) - 1, 1)
    return _wrk(port, traffic, connections=connections, seconds=seconds, scratch=scratch, pause_ms=pause_ms)


def _wrk(port: int, traffic: Traffic, *, connections: int, seconds: float, scratch: Path, pause_ms: int) -> Load:
    bodies = scratch / f"{port}.bodies"
    with bodies.open("wb") as file:
        for body in traffic.bodies:
            file.write(b"%d\n%b" % (len(body), body))
    command = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "20s"]
    command += ["-s", str(HERE / "requests.lua"), f"http://127.0.0.1:{port}{traffic.path}", "--", str(bodies)]
    command.append(str(pause_ms))
    command += [f"{name}: {value}" for name, value in traffic.headers.items()]
    said = _output(command, seconds)
    numbers = said.partition("RESULT ")[2].split()
    if len(numbers) != 5:
        raise RuntimeError(f"wrk: {said[-300:]}")
    requests, micros, failed, p50_us, p99_us = map(int, numbers)
    return Load(requests - failed, failed, micros / 1e6, p50_us / 1e3, p99_us / 1e3)


def grpc_load(port: int, traffic: Traffic, *, connections: int, seconds: float, scratch: Path) -> Load:
    """The same for one gRPC method, one stream a connection.

    h2load sends one and the same body, so the model sees one row again and again: alike for all servers.

    Raises:
        RuntimeError: h2load said nothing that can be read.
    """
    body, log = scratch / f"{port}.grpc", scratch / f"{port}.h2load"
    body.write_bytes(struct.pack(">BI", 0, len(traffic.bodies[0])) + traffic.bodies[0])
    log.unlink(missing_ok=True)
    command = ["taskset", "-c", str(LOAD_CPU), "h2load", "-t1", f"-c{connections}", "-m1", "-D", f"{seconds:g}"]
    command += ["-d", str(body), "--log-file", str(log), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    for name, value in traffic.headers.items():
        command += ["-H", f"{name.lower()}: {value}"]
    said = _output([*command, f"http://127.0.0.1:{port}{traffic.path}"], seconds)
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    latencies = sorted(int(line[2]) / 1e3 for line in lines if len(line) == 3)
    if not latencies:
        raise RuntimeError(f"h2load: {said[-300:]}")
    failed = sum(line[1] != "200" for line in lines)
    count = len(latencies)
    return Load(count - failed, failed, seconds, latencies[count // 2], latencies[int(count * 0.99)])


def _output(command: list[str], seconds: float) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False).stdout
