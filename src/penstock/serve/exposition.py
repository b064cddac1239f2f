"""Stage 4, serve: the counters as Prometheus text, summed over all workers.

Comes in: the folder of the workers' counters. Goes out: text in the exposition format 0.0.4. TorchServe's three names
of the same counts are among them, so that its dashboards go on.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path

from penstock.serve.enginelines import EngineSum
from penstock.serve.meters import EDGES_S, Label, Sum, totals

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_PARTS = ("_bucket", "_sum", "_count")
Digests = Mapping[tuple[str, str], str]


def exposition(
    folder: Path, extra: dict[str, float], digests: Digests | None = None, names: frozenset[str] = frozenset()
) -> bytes:
    """All metrics.

    Args:
        folder: Of the workers' counters.
        extra: This worker's own gauges and counters by full name.
        digests: Endpoint and version -> package, whose engine's queue is theirs.
        names: Those that are wanted; empty means all.
    """
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
    lines += _torchserve(sums, engines, digests or {})
    return ("\n".join(_wanted(lines, names)) + "\n").encode()


def _torchserve(sums: Mapping[Label, Sum], engines: Mapping[str, EngineSum], digests: Digests) -> Iterator[str]:
    """Its counters; what failed before a version was chosen it counts under ``default``."""
    host = _escaped(socket.gethostname())
    counts: dict[tuple[str, str], tuple[int, float]] = {}
    for label, one in sums.items():
        if label.endpoint:
            key = (label.endpoint, label.version or "default")
            requests, micros = counts.get(key, (0, 0.0))
            counts[key] = (requests + one.requests, micros + (one.total_s * 1e6 if label.code == "ok" else 0.0))
    queues = {key: engines[digest].queue_ns / 1e3 for key, digest in digests.items() if digest in engines}
    for name, words, values in (
        ("ts_inference_requests_total", "Requests.", {key: float(found[0]) for key, found in counts.items()}),
        ("ts_inference_latency_microseconds", "Time to answers.", {key: found[1] for key, found in counts.items()}),
        ("ts_queue_latency_microseconds", "Time in the queue.", queues),
    ):
        yield f"# HELP {name} {words}"
        yield f"# TYPE {name} counter"
        for (endpoint, version), value in values.items():
            labels = f'model_name="{_escaped(endpoint)}",model_version="{_escaped(version)}",hostname="{host}"'
            yield f"{name}{{{labels}}} {value:.0f}"


def _wanted(lines: Iterable[str], names: frozenset[str]) -> Iterator[str]:
    """Lines of metrics of these names; a histogram's parts go by its own."""
    for line in lines:
        name = line.split(" ", 3)[2] if line.startswith("#") else line.partition("{")[0].partition(" ")[0]
        family = next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), name)
        if not names or name in names or family in names:
            yield line


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
