"""A closed loop of keep-alive clients: wrk over HTTP/1.1, h2load over HTTP/2; each in one thread.

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


class Plan(NamedTuple):
    """How to load.

    Attributes:
        connections: Each waits for its answer before it asks again.
        seconds: For so long.
        pinned: The generator has a CPU of its own.
        pause_ms: How long a connection rests before it asks again.
    """

    connections: int
    seconds: float
    pinned: bool
    pause_ms: int = 0


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


def generate(port: int, traffic: Traffic, plan: Plan, scratch: Path) -> Load:
    """Send the bodies in turn, by the generator of the traffic's protocol.

    Raises:
        RuntimeError: The generator said nothing that can be read.
    """
    return _h2load(port, traffic, plan, scratch) if traffic.grpc else _wrk(port, traffic, plan, scratch)


def _wrk(port: int, traffic: Traffic, plan: Plan, scratch: Path) -> Load:
    bodies = scratch / f"{port}.bodies"
    with bodies.open("wb") as file:
        for body in traffic.bodies:
            file.write(b"%d\n%b" % (len(body), body))
    command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{plan.seconds:g}s", "--timeout", "20s"]
    command += ["-s", str(HERE / "requests.lua"), f"http://127.0.0.1:{port}{traffic.path}"]
    command += ["--", str(bodies), str(plan.pause_ms)]
    command += [f"{name}: {value}" for name, value in traffic.headers.items()]
    said = _output(command, plan)
    numbers = said.partition("RESULT ")[2].split()
    if len(numbers) != 5:
        raise RuntimeError(f"wrk: {said[-300:]}")
    requests, micros, failed, p50_us, p99_us = map(int, numbers)
    return Load(requests - failed, failed, micros / 1e6, p50_us / 1e3, p99_us / 1e3)


def _h2load(port: int, traffic: Traffic, plan: Plan, scratch: Path) -> Load:
    """One stream a connection; h2load knows one body, so the model sees one row again and again: alike for all."""
    body, log = scratch / f"{port}.grpc", scratch / f"{port}.h2load"
    body.write_bytes(struct.pack(">BI", 0, len(traffic.bodies[0])) + traffic.bodies[0])
    log.unlink(missing_ok=True)
    command = ["h2load", "-t1", f"-c{plan.connections}", "-m1", "-D", f"{plan.seconds:g}", "-d", str(body)]
    command += ["--log-file", str(log), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    for name, value in traffic.headers.items():
        command += ["-H", f"{name.lower()}: {value}"]
    said = _output([*command, f"http://127.0.0.1:{port}{traffic.path}"], plan)
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    latencies = sorted(int(line[2]) / 1e3 for line in lines if len(line) == 3)
    if not latencies:
        raise RuntimeError(f"h2load: {said[-300:]}")
    failed = sum(line[1] != "200" for line in lines)
    count = len(latencies)
    return Load(count - failed, failed, plan.seconds, latencies[count // 2], latencies[int(count * 0.99)])


def _output(command: list[str], plan: Plan) -> str:
    pin = ["taskset", "-c", str(LOAD_CPU)] if plan.pinned else []
    timeout = plan.seconds + GRACE_S
    return subprocess.run([*pin, *command], capture_output=True, text=True, timeout=timeout, check=False).stdout
