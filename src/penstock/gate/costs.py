"""Stage 2, gate: what answers cost: time, processor, memory; of several engines side by side.

What comes in: engines that answer the same rows. What goes out: a `Cost` of each. They take turns, run by run, so that
whatever else the machine does hits all alike.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import onnxruntime  # noqa: F401  loaded before memory is looked at

from penstock.errors import ModelFailed
from penstock.packages.manifest import model_bytes
from penstock.packages.read import Package, open_package
from penstock.records import Record
from penstock.runtime.engine import Engine, open_engine
from penstock.runtime.sandbox import run_task
from penstock.tensors import Arrays

WEIGH = "penstock.gate.costs:weigh"
WARM_UP = 3
SINGLES = 10
"""Single rows of each engine in one turn."""
CLOSE = 0.9
"""What takes at least this part of another's time is as quick: figures vary by that."""


class RunCost(Record, frozen=True, kw_only=True):
    """What one way of running costs: so many rows in a run, on so many threads.

    Attributes:
        threads: Of one run.
        batch: Rows in it.
        p50_s: Median time of a run, in process.
        p99_s: 99th percentile of it.
        cpu_s: Processor time of 1,000 rows.
    """

    threads: int
    batch: int
    p50_s: float
    p99_s: float
    cpu_s: float


class Cost(Record, frozen=True, kw_only=True):
    """What a package's answers cost on this machine.

    Attributes:
        size_bytes: Of the file that answers.
        p50_s: Median time of one row, asked alone on one thread, in process.
        p99_s: 99th percentile of it.
        cpu_s: Processor time of 1,000 rows, asked `batch` at a time on `threads`.
        memory_bytes: What a process grew by to load the package and answer a batch; 0 where that cannot be told.
        batch: Rows in a run.
        threads: Of one run.
        runs: Every way of running that was measured.
    """

    size_bytes: int
    p50_s: float
    p99_s: float
    cpu_s: float
    memory_bytes: int = 0
    batch: int = 32
    threads: int = 1
    runs: tuple[RunCost, ...] = ()

    def within(self, p99_s: float) -> RunCost | None:
        """The cheapest way of running that keeps a latency; of close ones, fewest threads and most rows; or None."""
        kept = [one for one in self.runs if one.p99_s <= p99_s]
        least = min((one.cpu_s for one in kept), default=0.0)
        close = [one for one in kept if CLOSE * one.cpu_s <= least]
        return min(close, key=lambda one: (one.threads, -one.batch), default=None)


def measure_costs(
    engines: Mapping[str, Mapping[int, Engine]],
    packages: Mapping[str, Package],
    inputs: Arrays,
    *,
    batch: int,
    budget_s: float,
) -> dict[str, Cost]:
    """The costs of each package, run in every way that is asked.

    Args:
        engines: By name, then by the threads that they were opened on; one thread is among them.
        packages: What they were opened from, by the same names.
        inputs: Conformed rows; they are asked in turn, and repeated where a batch holds more.
        batch: Rows in a run of many.
        budget_s: Time for all of it, but for the weighing.
    """
    rows = len(next(iter(inputs.values())))
    ones = [{name: array[at : at + 1] for name, array in inputs.items()} for at in range(min(rows, 256))]
    index = np.arange(batch) % rows
    many = {name: np.ascontiguousarray(array[index]) for name, array in inputs.items()}
    measured = {
        (name, threads, size): _Measured() for name, some in engines.items() for threads in some for size in (1, batch)
    }
    begun, turn = time.perf_counter(), 0
    while turn < WARM_UP + 3 or time.perf_counter() - begun < budget_s:
        for name, some in engines.items():
            for threads, engine in some.items():
                single, large = measured[name, threads, 1], measured[name, threads, batch]
                # The first turns are not counted: whatever is made at the first run is made then.
                kept = (single, large) if turn >= WARM_UP else (_Measured(), _Measured())
                for at in range(SINGLES):
                    kept[0].take(engine, ones[(turn * SINGLES + at) % len(ones)])
                kept[1].take(engine, many)
        turn += 1
    return {name: _cost(name, packages[name], measured, many, batch) for name in engines}


class _Measured(msgspec.Struct):
    """Runs of one kind: seconds, and processor seconds."""

    times: list[float] = []
    cpu: list[float] = []

    def take(self, engine: Engine, rows: Arrays) -> None:
        """Run once."""
        before, start = time.process_time(), time.perf_counter()
        engine.run(rows)
        self.times.append(time.perf_counter() - start)
        self.cpu.append(time.process_time() - before)


def _cost(
    name: str, package: Package, measured: Mapping[tuple[str, int, int], _Measured], many: Arrays, batch: int
) -> Cost:
    """What was measured of one package."""
    runs = tuple(
        RunCost(
            threads=threads,
            batch=size,
            p50_s=float(np.quantile(one.times, 0.5)),
            p99_s=float(np.quantile(one.times, 0.99)),
            # A clock of processor time may be too coarse for one row; of many runs the mean is right.
            cpu_s=1000 * float(np.mean(one.cpu) if size == 1 else np.median(one.cpu)) / size,
        )
        for (owner, threads, size), one in measured.items()
        if owner == name
    )
    alone = next(one for one in runs if (one.threads, one.batch) == (1, 1))
    usual = next(one for one in runs if (one.threads, one.batch) == (1, batch))
    return Cost(
        size_bytes=model_bytes(package.manifest),
        p50_s=alone.p50_s,
        p99_s=alone.p99_s,
        cpu_s=usual.cpu_s,
        memory_bytes=memory_of(package, many),
        batch=batch,
        runs=runs,
    )


# -- memory --------------------------------------------------------------------------------------


class _Weighed(msgspec.Struct, frozen=True):
    """What the sandbox is to open, and how many rows of its examples to ask."""

    folder: str
    rows: int


def memory_of(package: Package, many: Arrays) -> int:
    """Bytes that a fresh process grows by; 0 where it ended early."""
    task = _Weighed(str(package.folder.resolve()), len(next(iter(many.values()))))
    with TemporaryDirectory(prefix="penstock-") as scratch:
        try:
            found = run_task(WEIGH, msgspec.to_builtins(task), read=[package.folder], scratch=Path(scratch))
        except ModelFailed:
            return 0
    return found if isinstance(found, int) else 0


def weigh(arguments: object, scratch: Path) -> object:
    """The sandbox's entry: open a package, have it answer a batch of its examples, say how much memory came of it."""
    del scratch
    task = msgspec.convert(arguments, _Weighed)
    package = open_package(Path(task.folder))
    golden = package.golden().inputs
    index = np.arange(task.rows) % len(next(iter(golden.values())))
    many = {name: np.ascontiguousarray(array[index]) for name, array in golden.items()}
    before = _peak_bytes()
    engine = open_engine(package)
    engine.run(many)
    return _peak_bytes() - before


def _peak_bytes() -> int:
    """The most memory that this process held; what /proc would say is shut to it."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
