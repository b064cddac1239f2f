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


class Cost(Record, frozen=True, kw_only=True):
    """What a package's answers cost on this machine.

    Attributes:
        size_bytes: Of the file that answers.
        p50_s: Median time of one row, asked alone, in process.
        p99_s: 99th percentile of it.
        cpu_s: Processor time of 1,000 rows, asked `batch` at a time.
        memory_bytes: What a process grew by to load the package and answer a batch; 0 where that cannot be told.
        batch: Rows in a run.
    """

    size_bytes: int
    p50_s: float
    p99_s: float
    cpu_s: float
    memory_bytes: int = 0
    batch: int = 32


def measure_costs(
    engines: Mapping[str, Engine], packages: Mapping[str, Package], inputs: Arrays, *, batch: int, budget_s: float
) -> dict[str, Cost]:
    """The costs of each engine.

    Args:
        engines: By name, opened on one thread.
        packages: What they were opened from, by the same names.
        inputs: Conformed rows; they are asked in turn, and repeated where a batch holds more.
        batch: Rows in a run of many.
        budget_s: Time for all of it, but for the weighing.
    """
    rows = len(next(iter(inputs.values())))
    ones = [{name: array[at : at + 1] for name, array in inputs.items()} for at in range(min(rows, 256))]
    index = np.arange(batch) % rows
    many = {name: np.ascontiguousarray(array[index]) for name, array in inputs.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    cpu: dict[str, list[float]] = {name: [] for name in engines}
    begun, turn = time.perf_counter(), 0
    while turn < WARM_UP + 3 or time.perf_counter() - begun < budget_s:
        for name, engine in engines.items():
            alone, spent = _turn(engine, ones, many, turn)
            if turn >= WARM_UP:
                times[name] += alone
                cpu[name].append(1000 * spent / batch)
        turn += 1
    return {
        name: Cost(
            size_bytes=model_bytes(packages[name].manifest),
            p50_s=float(np.quantile(times[name], 0.5)),
            p99_s=float(np.quantile(times[name], 0.99)),
            cpu_s=float(np.median(cpu[name])),
            memory_bytes=memory_of(packages[name], many),
            batch=batch,
        )
        for name in engines
    }


def _turn(engine: Engine, ones: list[Arrays], many: Arrays, turn: int) -> tuple[list[float], float]:
    """Seconds of some single rows, and processor seconds of one batch."""
    alone: list[float] = []
    for at in range(SINGLES):
        one = ones[(turn * SINGLES + at) % len(ones)]
        start = time.perf_counter()
        engine.run(one)
        alone.append(time.perf_counter() - start)
    before = time.process_time()
    engine.run(many)
    return alone, time.process_time() - before


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
