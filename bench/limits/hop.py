"""What the sandbox costs: a model asked behind its walls, less the same model asked directly; one row a call.

Prints calls, CPU seconds of the hop alone (both processes, less the model's own), and wall seconds.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from penstock.packages.read import open_package
from penstock.runtime.engine import open_engine
from penstock.runtime.original import answer, load_original
from penstock.tensors import Arrays

CHUNK = 64


def tree_cpu_s(pids: tuple[int, ...]) -> float:
    """CPU of this process and of a living other one, in seconds."""
    total = time.process_time()
    for pid in pids:
        # Nanoseconds on the CPU of all its threads: /proc/PID/stat has only ticks.
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def spent_s(run: Callable[[Arrays], object], rows: list[Arrays], pids: tuple[int, ...]) -> float:
    """CPU seconds of asking for all these rows."""
    before = tree_cpu_s(pids)
    for row in rows:
        run(row)
    return tree_cpu_s(pids) - before


def main(folder: str, rows_file: str, seconds: float) -> None:
    """Alternate between the two for so long."""
    package = open_package(Path(folder), keys=None)
    manifest = package.manifest
    specs = manifest.signature.inputs
    rows = [{specs[0].name: row[None]} for row in np.load(rows_file).astype(np.float32)]
    model = load_original(package.path(manifest.entry), manifest.kind)
    engine = open_engine(package)
    started, calls, hop_s = time.perf_counter(), 0, 0.0
    while time.perf_counter() - started < seconds:
        part = rows[calls % len(rows) : calls % len(rows) + CHUNK]
        sandboxed = spent_s(engine.run, part, (engine.pid,))  # type: ignore[attr-defined]
        direct = spent_s(lambda row: answer(model, specs, row), part, ())
        hop_s += sandboxed - direct
        calls += len(part)
    wall_s = time.perf_counter() - started
    engine.close()
    print("RESULT", calls, hop_s, wall_s)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
