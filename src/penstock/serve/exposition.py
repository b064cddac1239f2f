"""Stage 4, serve: the counters as Prometheus text, summed over all workers.

Comes in: the folder of the workers' counters. Goes out: text in the exposition format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from penstock.serve.meters import EDGES_S, Label, Sum, totals

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def exposition(folder: Path, extra: dict[str, float]) -> bytes:
    """All metrics; `extra` are this worker's own gauges and counters by full name."""
    sums, in_flight, queued, lost, sync_failures, engines = totals(folder)
    lines: list[str] = []
    for name, kind, column in (
        ("penstock_requests_total", "Requests by endpoint, version, variant and code.", 0),
        ("penstock_rows_total", "Rows of those requests.", 1),
    ):
        lines += [f"# HELP {name} {kind}", f"# TYPE {name} counter"]
        lines += [f"{name}{{{_labels(label)}}} {one[column]:.0f}" for label, one in sums.items()]
    lines += [
        "# HELP penstock_errors_total Requests that did not end in an answer.",
        "# TYPE penstock_errors_total counter",
    ]
    lines += [
        f"penstock_errors_total{{{_labels(label)}}} {one.requests:.0f}"
        for label, one in sums.items()
        if label.code != "ok"
    ]
    name = "penstock_latency_seconds"
    lines += [f"# HELP {name} From the last byte of a request to its answer.", f"# TYPE {name} histogram"]
    for label, one in sums.items():
        lines += _histogram(name, label, one)
    for name, kind, words in (
        ("penstock_engine_runs_total", "Runs of a package's engine.", [one.runs for one in engines.values()]),
        ("penstock_engine_rows_total", "Rows in those runs.", [one.rows for one in engines.values()]),
        ("penstock_engine_seconds_total", "Time in those runs.", [one.run_ns / 1e9 for one in engines.values()]),
    ):
        lines += [f"# HELP {name} {kind}", f"# TYPE {name} counter"]
        lines += [f'{name}{{package="{_escaped(key)}"}} {word:.9g}' for key, word in zip(engines, words, strict=True)]
    gauges = {
        "penstock_requests_in_flight": in_flight,
        "penstock_requests_queued": queued,
        "penstock_log_lost_total": lost,
        "penstock_log_sync_failures_total": sync_failures,
        **extra,
    }
    for gauge, value in gauges.items():
        lines += [f"# TYPE {gauge} {'counter' if gauge.endswith('_total') else 'gauge'}", f"{gauge} {value:g}"]
    return ("\n".join(lines) + "\n").encode()


def _histogram(name: str, label: Label, one: Sum) -> Iterator[str]:
    labels = _labels(label)
    for edge, count in zip((*EDGES_S, "+Inf"), accumulate(one.buckets), strict=True):
        yield f'{name}_bucket{{{labels},le="{edge}"}} {count:.0f}'
    yield f"{name}_sum{{{labels}}} {one.total_s:.6f}"
    yield f"{name}_count{{{labels}}} {one.requests:.0f}"


def _labels(label: Label) -> str:
    return ",".join(f'{key}="{_escaped(value)}"' for key, value in label._asdict().items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
