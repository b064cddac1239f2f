"""What the sandbox costs: a model asked behind its walls, less the same model asked directly; one row a call.

Prints calls, CPU seconds of the hop alone (both processes, less the model's own), and wall seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from penstock.packages.read import open_package
from penstock.runtime.engine import open_engine
from penstock.runtime.original import answer, load_original


def other_s(pid: int) -> float:
    """CPU of another process so far, all its threads; /proc/PID/stat has only ticks, this has nanoseconds."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def main(folder: str, rows_file: str, seconds: float) -> None:
    """Ask for each row behind the walls, then directly: whatever else empties the caches does it to both."""
    package = open_package(Path(folder), keys=None)
    manifest = package.manifest
    specs = manifest.signature.inputs
    rows = [{specs[0].name: row[None]} for row in np.load(rows_file).astype(np.float32)]
    model = load_original(package.path(manifest.entry), manifest.kind)
    engine = open_engine(package)
    pid: int = engine.pid  # type: ignore[attr-defined]
    started, calls, hop_s = time.perf_counter(), 0, 0.0
    while time.perf_counter() - started < seconds:
        row = rows[calls % len(rows)]
        theirs, own = other_s(pid), time.process_time()
        engine.run(row)
        sandboxed = time.process_time()
        answer(model, specs, row)
        direct = time.process_time()
        hop_s += other_s(pid) - theirs + (sandboxed - own) - (direct - sandboxed)
        calls += 1
    wall_s = time.perf_counter() - started
    engine.close()
    print("RESULT", calls, hop_s, wall_s)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
