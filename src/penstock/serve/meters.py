"""Stage 4, serve: counters that outlive the worker that counts.

Each worker maps one file of fixed-size series into its memory and adds in place, so a killed worker loses no
count and its successor goes on from there; whoever asks sums over all workers' files.

    file   = header (magic, format, series and engine lines in use) + series + engine lines
    series = key (JSON, padded) + requests, rows, nanoseconds, one counter per latency bucket
    engine = digest (padded) + what an engine did: see `penstock.serve.enginelines`

A file of format 1, which had no engine lines, goes on with the counts it has.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from penstock.errors import Corrupt
from penstock.serve import enginelines
from penstock.serve.enginelines import EngineSeries, EngineSum

_LOG = logging.getLogger("penstock.serve")
FORMAT = 2
EDGES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_MAGIC = b"PSMETER%d" % FORMAT
_MAGIC_1 = b"PSMETER1"
_HEADER = 64
_IN_USE = 8
_GAUGES = 16
_LOST = 4
_SYNC_FAILURES = 5
_ENGINES = 6
"""Places of the log's two counters and of the engine lines in use in the header, in words."""
_KEY_BYTES = 384
_FIXED = 3
_VALUES = _FIXED + len(EDGES_S) + 1
_SERIES = _KEY_BYTES + 8 * _VALUES
_MOST = 1024
_SERIES_END = _HEADER + _MOST * _SERIES
_SIZE = _SERIES_END + enginelines.BYTES


class Label(NamedTuple):
    """What a series counts."""

    endpoint: str
    version: str
    variant: str
    code: str


class CounterSeries:
    """One line of counters in the mapped file."""

    __slots__ = ("_at", "_values")

    def __init__(self, values: memoryview[int], at: int) -> None:
        self._values = values
        self._at = at

    def add(self, rows: int, latency_s: float) -> None:
        """Count one request."""
        values, at = self._values, self._at
        values[at] += 1
        values[at + 1] += rows
        values[at + 2] += int(latency_s * 1e9)
        values[at + 3 + bisect_left(EDGES_S, latency_s)] += 1

    def add_rows(self, latencies_s: Sequence[float]) -> int:
        """Count requests of one row each, a whole turn of them; returns their nanoseconds."""
        values, at = self._values, self._at
        requests = len(latencies_s)
        values[at] += requests
        values[at + 1] += requests
        total_ns = int(sum(latencies_s) * 1e9)
        values[at + 2] += total_ns
        if max(latencies_s) <= EDGES_S[0]:
            values[at + 3] += requests
            return total_ns
        for latency_s in latencies_s:
            values[at + 3 + bisect_left(EDGES_S, latency_s)] += 1
        return total_ns


class Sum(NamedTuple):
    """A series summed over workers."""

    requests: int
    rows: int
    total_ns: int
    buckets: tuple[int, ...]

    @property
    def total_s(self) -> float:
        """Summed latency in seconds."""
        return self.total_ns / 1e9


class Meters:
    """This worker's counters.

    Args:
        path: Its file, ``NAME.meter``, beside the other workers'; continued where it exists and is whole.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self._map = _continued(path)
        self._values = memoryview(self._map).cast("q")
        self._series: dict[Label, CounterSeries] = {}
        for index, (label, _) in enumerate(_lines(self._map)):
            self._series[label] = CounterSeries(self._values, _place(index))
        self._engines: dict[str, EngineSeries] = {}
        for index, (digest, _) in enumerate(enginelines.lines(self._map, _SERIES_END, self._values[_ENGINES])):
            self._engines[digest] = EngineSeries(self._values, enginelines.place(_SERIES_END, index))
        self.gauge(0, 0)

    def series(self, label: Label) -> CounterSeries:
        """The counters of a label; beyond the file's room all new labels share the last line."""
        found = self._series.get(label)
        if found is None:
            found = self._series[label] = self._new(label)
        return found

    def engine(self, digest: str) -> EngineSeries:
        """The counters of a package's engine; beyond the file's room all new ones share the last line."""
        found = self._engines.get(digest)
        if found is None:
            found = self._engines[digest] = self._new_engine(digest)
        return found

    def gauge(self, in_flight: int, queued: int) -> None:
        """What this worker holds right now."""
        struct.pack_into("<qq", self._map, _GAUGES, in_flight, queued)

    def lost(self, rows: int) -> None:
        """Count exchanges that the disk did not take."""
        self._values[_LOST] += rows

    def sync_failed(self) -> None:
        """Count a failed fsync."""
        self._values[_SYNC_FAILURES] += 1

    def _new(self, label: Label) -> CounterSeries:
        used = min(_in_use(self._map), _MOST - 1)
        key = msgspec.json.encode(label)
        if used == _MOST - 1 or len(key) > _KEY_BYTES:
            key = msgspec.json.encode(Label("", "", "", "more"))
        start = _HEADER + used * _SERIES
        self._map[start : start + len(key)] = key
        struct.pack_into("<Q", self._map, _IN_USE, used + 1)
        return CounterSeries(self._values, _place(used))

    def _new_engine(self, digest: str) -> EngineSeries:
        used = min(self._values[_ENGINES], enginelines.MOST - 1)
        key = (digest if used < enginelines.MOST - 1 else "more").encode()[: enginelines.KEY_BYTES]
        at = enginelines.place(_SERIES_END, used)
        start = at * 8 - enginelines.KEY_BYTES
        self._map[start : start + len(key)] = key
        self._values[_ENGINES] = used + 1
        return EngineSeries(self._values, at)


class Totals(NamedTuple):
    """All workers' counters."""

    series: dict[Label, Sum]
    in_flight: int
    queued: int
    log_lost: int
    log_sync_failures: int
    engines: dict[str, EngineSum] = {}


def totals(folder: Path) -> Totals:
    """All workers' counters, summed."""
    sums: dict[Label, Sum] = {}
    engines: dict[str, EngineSum] = {}
    header = [0, 0, 0, 0]
    for path in sorted(folder.glob("*.meter")):
        data = path.read_bytes()
        if len(data) != _SIZE or data[: len(_MAGIC)] != _MAGIC:
            continue
        try:
            lines = _lines(data)
        except Corrupt:
            # Its worker sets it aside when it next starts; what the others counted is still true.
            continue
        header = [a + b for a, b in zip(header, struct.unpack_from("<4q", data, _GAUGES), strict=True)]
        for label, one in lines:
            known = sums.get(label)
            sums[label] = one if known is None else _added(known, one)
        for digest, engine in enginelines.lines(data, _SERIES_END, struct.unpack_from("<q", data, _ENGINES * 8)[0]):
            before = engines.get(digest)
            engines[digest] = engine if before is None else before.plus(engine)
    return Totals._make((sums, *header, engines))


def forget_gauges(path: Path) -> None:
    """A worker is dead: it holds nothing any more."""
    if path.exists():
        with path.open("r+b") as file:
            file.seek(_GAUGES)
            file.write(struct.pack("<qq", 0, 0))


def _added(one: Sum, other: Sum) -> Sum:
    buckets = tuple(a + b for a, b in zip(one.buckets, other.buckets, strict=True))
    return Sum(one.requests + other.requests, one.rows + other.rows, one.total_ns + other.total_ns, buckets)


def _continued(path: Path) -> mmap.mmap:
    """The file's memory; a damaged file is set aside, because nobody would be served for the sake of its counts."""
    mapped = _mapped(path)
    try:
        _lines(mapped)
    except Corrupt as error:
        _LOG.error("%s is set aside: %s", path.name, error)
        mapped.close()
        path.replace(path.with_suffix(".damaged"))
        mapped = _mapped(path)
    return mapped


def _mapped(path: Path) -> mmap.mmap:
    """The file's memory, or memory of no file where the disk is full or may not be written."""
    try:
        return _open(path)
    except OSError as error:
        _LOG.error("counters end with this worker: %s cannot be written: %s", path.name, error.strerror)
        mapped = mmap.mmap(-1, _SIZE)
        mapped[: len(_MAGIC)] = _MAGIC
        return mapped


def _open(path: Path) -> mmap.mmap:
    """Errors: OSError where the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        old = os.fstat(descriptor).st_size == _SERIES_END and os.pread(descriptor, len(_MAGIC), 0) == _MAGIC_1
        if not old and os.fstat(descriptor).st_size != _SIZE:
            os.ftruncate(descriptor, 0)
        # All of it now: a page that the disk has no room for later would be the end of whoever counts in it.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, _SIZE)
        mapped = mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)
    if not old and mapped[: len(_MAGIC)] != _MAGIC:
        mapped[:] = bytes(_SIZE)
    mapped[: len(_MAGIC)] = _MAGIC
    return mapped


def _in_use(data: mmap.mmap | bytes) -> int:
    used = int(struct.unpack_from("<Q", data, _IN_USE)[0])
    if used > _MOST or not 0 <= struct.unpack_from("<q", data, _ENGINES * 8)[0] <= enginelines.MOST:
        raise _damaged()
    return used


def _damaged() -> Corrupt:
    return Corrupt("a file of counters is damaged", "remove the folder run/meters", code="serve.meters")


def _place(index: int) -> int:
    """Where a line's values start, in words."""
    return (_HEADER + index * _SERIES + _KEY_BYTES) // 8


def _lines(data: mmap.mmap | bytes) -> list[tuple[Label, Sum]]:
    lines: list[tuple[Label, Sum]] = []
    for index in range(_in_use(data)):
        start = _HEADER + index * _SERIES
        key = bytes(data[start : start + _KEY_BYTES]).rstrip(b"\0")
        values = struct.unpack_from(f"<{_VALUES}q", data, start + _KEY_BYTES)
        try:
            label = Label(*msgspec.json.decode(key, type=tuple[str, str, str, str]))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _damaged() from None
        lines.append((label, Sum(values[0], values[1], values[2], values[_FIXED:])))
    return lines
