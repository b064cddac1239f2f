"""`make bench`: our data plane against FastAPI + ONNX Runtime, in one run, as ratios.

Both serve the same compiled gradient-boosted trees (100 trees, 20 numbers) with one process, side by side; ours with
everything on: signature check, prediction ids, metrics, inference log. Each round asks one, then the other, so that
whatever else the machine does hits both. Different rows in turn: the same row again and again flatters everybody.
Trust the ratio of requests per CPU second first; p99 on a shared machine mostly shows who else ran.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from load import load
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.read import Package

HERE = Path(__file__).parent
WIDTH = 20
ROWS = 512


class System(NamedTuple):
    """A server under load: where, which path, which bodies, and the processes that count."""

    name: str
    port: int
    path: str
    bodies: list[str]
    pid: int


class Point(NamedTuple):
    """What one system did at one number of connections."""

    per_s: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def make_package(folder: Path) -> Package:
    random = np.random.default_rng(11)
    x = random.normal(size=(6000, WIDTH))
    y = (x[:, 0] + x[:, 1] * x[:, 2] + np.sin(x[:, 3]) + random.normal(size=6000) > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=100, max_depth=6, max_leaf_nodes=51).fit(x, y)
    return build(model, BuildRequest(name="bench", out=folder, data=x[:500].astype(np.float32), lock=False))


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[int]:
    """A server process that listens on a port."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def cpu_s(pid: int) -> float:
    """User and system time of a process and its children that live."""
    total = 0.0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return total
    return total + sum(cpu_s(int(child)) for child in children)


def measure(system: System, *, connections: int, seconds: float, scratch: Path) -> Point:
    before = cpu_s(system.pid)
    if shutil.which("wrk"):
        bodies = scratch / f"{system.name}.bodies"
        bodies.write_text("\n".join(system.bodies) + "\n")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "requests.lua")]
        url = f"http://127.0.0.1:{system.port}{system.path}"
        said = subprocess.run([*command, url, "--", str(bodies)], capture_output=True, text=True, check=True).stdout
        requests, micros, failed, p50, p99 = map(int, said.partition("RESULT ")[2].split())
        answered, taken, middle, tail = requests - failed, micros / 1e6, p50 / 1e3, p99 / 1e3
    else:
        raw = [
            f"POST {system.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            for body in system.bodies
        ]
        done = load(system.port, raw, connections=connections, seconds=seconds)
        answered, failed, taken = done.answered, done.failed, done.seconds
        middle, tail = done.quantile(0.5) * 1e3, done.quantile(0.99) * 1e3
    if failed:
        raise SystemExit(f"{system.name}: {failed} requests failed, so there is nothing to compare")
    return Point(answered / taken, (cpu_s(system.pid) - before) / answered * 1e6, middle, tail)


def wait_until_right(system: System) -> None:
    """Until it answers 200."""
    body = system.bodies[0]
    request = f"POST {system.path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", system.port)) as wire:
            wire.sendall(f"{request}\r\n\r\n{body}".encode())
            if b" 200 " in wire.recv(200):
                return
        time.sleep(0.1)
    raise SystemExit(f"{system.name} does not answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compare(ours: System, theirs: System, *, rounds: int, seconds: float, scratch: Path) -> dict[str, dict[str, float]]:
    """Medians over the rounds, and of the ratios within each round."""
    found: dict[str, dict[str, float]] = {}
    for connections in (1, 16):
        pairs: list[tuple[Point, Point]] = []
        for _ in range(rounds):
            base = measure(theirs, connections=connections, seconds=seconds, scratch=scratch)
            pairs.append((measure(ours, connections=connections, seconds=seconds, scratch=scratch), base))
        middle = statistics.median
        found[f"c{connections}"] = {
            "ours_per_s": middle(a.per_s for a, _ in pairs),
            "theirs_per_s": middle(b.per_s for _, b in pairs),
            "ours_cpu_us": middle(a.cpu_us for a, _ in pairs),
            "theirs_cpu_us": middle(b.cpu_us for _, b in pairs),
            "per_cpu_s_x": middle(b.cpu_us / a.cpu_us for a, b in pairs),
            "per_s_x": middle(a.per_s / b.per_s for a, b in pairs),
            "ours_p50_ms": middle(a.p50_ms for a, _ in pairs),
            "theirs_p50_ms": middle(b.p50_ms for _, b in pairs),
            "p50_x": middle(a.p50_ms / b.p50_ms for a, b in pairs),
            "ours_p99_ms": middle(a.p99_ms for a, _ in pairs),
            "theirs_p99_ms": middle(b.p99_ms for _, b in pairs),
            "p99_x": middle(a.p99_ms / b.p99_ms for a, b in pairs),
        }
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    lines = ["| connections | figure | penstock | FastAPI + ORT | ratio |", "| --- | --- | --- | --- | --- |"]
    for name, point in found.items():
        for figure, ours, theirs, ratio in (
            ("requests/s", "ours_per_s", "theirs_per_s", "per_s_x"),
            ("CPU us per request", "ours_cpu_us", "theirs_cpu_us", "per_cpu_s_x"),
            ("p50 ms", "ours_p50_ms", "theirs_p50_ms", "p50_x"),
            ("p99 ms", "ours_p99_ms", "theirs_p99_ms", "p99_x"),
        ):
            lines.append(f"| {name} | {figure} | {point[ours]:.4g} | {point[theirs]:.4g} | {point[ratio]:.2f} x |")
    lines.append("(ratio of CPU: requests per CPU second, ours over theirs)")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", default="", help="file for the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        scratch = Path(name)
        print("building the model's package ...", flush=True)
        package = make_package(scratch / "packages")
        rows = np.random.default_rng(5).normal(size=(ROWS, WIDTH)).astype(np.float32).round(4).tolist()
        tensor = {"name": "X", "shape": [1, WIDTH], "datatype": package.manifest.signature.inputs[0].datatype}
        v2 = [json.dumps({"inputs": [{**tensor, "data": row}]}) for row in rows]
        plain = [json.dumps({"inputs": [row]}) for row in rows]
        port, other = free_port(), free_port()
        serve = [sys.executable, "-m", "penstock.serve", "--package", str(package.folder), "--port", str(port)]
        serve += ["--workers", "1", "--spares", "0", "--log-dir", str(scratch / "log")]
        uvicorn = [sys.executable, "-m", "uvicorn", "baseline:app", "--port", str(other), "--no-access-log"]
        uvicorn += ["--log-level", "warning", "--app-dir", str(HERE)]
        model = {"BENCH_MODEL": str(package.entry)}
        with running(serve, port, {}) as ours, running(uvicorn, other, model) as theirs:
            systems = (
                System("penstock", port, "/v2/models/bench/infer", v2, ours),
                System("fastapi", other, "/predict", plain, theirs),
            )
            for system in systems:
                wait_until_right(system)
            print(f"{options.rounds} rounds of {options.seconds:g} s each ...", flush=True)
            found = compare(*systems, rounds=options.rounds, seconds=options.seconds, scratch=scratch)
    print(table(found))
    print(json.dumps(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
