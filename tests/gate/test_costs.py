"""The cheapest way of running is found among those that keep the latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packages_for_tests import linear_package
from penstock.gate.costs import Cost, RunCost, measure_costs
from penstock.packages.read import open_package
from penstock.records import Sizing
from penstock.runtime.engine import open_engine


def run(threads: int, batch: int, p99_s: float, cpu_s: float) -> RunCost:
    return RunCost(threads=threads, batch=batch, p50_s=p99_s / 2, p99_s=p99_s, cpu_s=cpu_s)


def cost(*runs: RunCost) -> Cost:
    return Cost(size_bytes=1, p50_s=0.0, p99_s=0.0, cpu_s=0.0, runs=runs)


def test_a_batch_is_cheapest_until_it_is_too_slow() -> None:
    alone, many, shared = run(1, 1, 0.001, 5.0), run(1, 32, 0.05, 1.0), run(2, 32, 0.02, 1.5)
    found = cost(alone, many, run(2, 1, 0.001, 6.0), shared)
    assert found.within(0.1) == many
    assert found.within(0.03) == shared
    assert found.within(0.01) == alone
    assert found.within(0.0001) is None


def test_of_close_ones_it_takes_fewest_threads_and_most_rows() -> None:
    alone, many, shared = run(1, 1, 0.001, 1.05), run(1, 32, 0.01, 1.04), run(2, 32, 0.01, 1.0)
    assert cost(alone, shared, many).within(1.0) == many


def test_every_way_is_measured_and_one_row_at_a_time_costs_more(tmp_path: Path) -> None:
    linear_package(tmp_path / "p")
    package = open_package(tmp_path / "p")
    engines = {"": {threads: open_engine(package, sizing=Sizing(threads=threads)) for threads in (1, 2)}}
    rows = {"X": np.zeros((5, 4), np.float32)}
    found = measure_costs(engines, {"": package}, rows, batch=32, budget_s=0.2)[""]
    assert [(one.threads, one.batch) for one in found.runs] == [(1, 1), (1, 32), (2, 1), (2, 32)]
    alone, many = found.runs[:2]
    assert alone.cpu_s > 5 * many.cpu_s > 0
    assert (found.p50_s, found.p99_s, found.cpu_s) == (alone.p50_s, alone.p99_s, many.cpu_s)
    assert all(0 < one.p50_s <= one.p99_s for one in found.runs)
