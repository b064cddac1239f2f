"""What the sandbox costs: a model asked behind its walls, less the same model asked directly; one row a call.

Blocks of sandboxed calls alternate with blocks of direct ones, and the first calls of each block do not count. Traffic
goes the sandboxed way call after call: its process has the model in the caches, as a server's would. Asked in turns one
by one, each copy of the model found the caches full of the other, and what it lost by that was charged to the hop. What
a request does pay is counted: both processes' CPU, the two switches between them on one CPU, and whatever the model
loses by them. The engine is driven as the server's lane drives it: asked, then heard when its socket is readable. The
spare process that starts beside every model is loaded before anything counts.

Prints calls, CPU seconds of the hop alone (both processes, less the model's own), and wall seconds.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import cast

import numpy as np

from penstock.packages.read import open_package
from penstock.runtime.engine import RemoteEngine, open_engine
from penstock.runtime.joinedtrees import join_trees
from penstock.runtime.original import bind, load_original
from penstock.tensors import Arrays

BLOCK = 32
SETTLING = 8
"""Calls of a block that do not count: they bring their way into the caches."""


def other_s(pid: int) -> float:
    """CPU of another process so far, all its threads; /proc/PID/stat has only ticks, this has nanoseconds."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def asker(engine: RemoteEngine) -> Callable[[Arrays], object]:
    """Asks the engine as an event loop does."""
    poll = select.epoll()
    process = engine.idle()
    assert process is not None
    poll.register(process.fileno(), select.EPOLLIN)

    def ask(row: Arrays) -> Arrays:
        assert engine.ask(row) is process
        while True:
            poll.poll()
            outputs = engine.hear()
            if outputs is not None:
                return outputs

    return ask


def block_s(ask: Callable[[Arrays], object], rows: list[Arrays], pid: int) -> float:
    """CPU seconds of a call in the midst of such calls, of this process and of another."""
    for row in rows[:SETTLING]:
        ask(row)
    before = other_s(pid) + time.process_time()
    for row in rows[SETTLING:]:
        ask(row)
    return (other_s(pid) + time.process_time() - before) / (len(rows) - SETTLING)


def main(folder: str, rows_file: str, seconds: float) -> None:
    """Block after block, both ways over the same rows."""
    package = open_package(Path(folder), keys=None)
    manifest = package.manifest
    specs = manifest.signature.inputs
    rows = cycle([{specs[0].name: row[None]} for row in np.load(rows_file).astype(np.float32)])
    model = load_original(package.path(manifest.entry), manifest.kind)
    join_trees(model)
    direct = bind(model, specs)
    engine = cast("RemoteEngine", open_engine(package))
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        thread.join()
    sandboxed = asker(engine)
    pid: int = engine.pid  # type: ignore[attr-defined]
    hops_s: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        block = [next(rows) for _ in range(BLOCK)]
        behind_s = block_s(sandboxed, block, pid)
        hops_s.append(behind_s - block_s(direct, block, pid))
    wall_s = time.perf_counter() - started
    engine.close()
    calls = len(hops_s) * (BLOCK - SETTLING)
    # The middle of neighbours' differences: whatever else this machine does hits most pairs alike.
    print("RESULT", calls, median(hops_s) * calls, wall_s)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
