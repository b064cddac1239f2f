"""The inference log as tables: journals are compacted into Delta, each frame exactly once.

    journal/*.wal, outcomes/*.wal --compact--> tables/exchanges, tables/outcomes (Delta) --read--> Arrow, DuckDB views

How far each segment was read is part of the Delta commit that holds its rows (an application transaction whose
version is the offset), so a compaction that is killed anywhere is simply done again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb
import msgspec
import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import TableNotFoundError

from penstock.errors import Corrupt
from penstock.log.captures import Block, Capture, decode, json_column
from penstock.log.journal import HEADER, read_segment
from penstock.log.tail import segments
from penstock.records import Outcome

MANY_FILES = 64
KEEP_S = 24 * 3600.0

EXCHANGES = pa.schema(
    [
        ("prediction", pa.string()), ("id", pa.string()), ("row", pa.int32()), ("endpoint", pa.string()),
        ("release", pa.int64()), ("model", pa.string()), ("version", pa.int64()), ("variant", pa.string()),
        ("share", pa.float64()), ("key", pa.string()), ("event_time", pa.float64()), ("received_at", pa.float64()),
        ("latency_s", pa.float64()), ("code", pa.string()), ("inputs", pa.string()), ("outputs", pa.string()),
        ("client_id", pa.string()), ("shadow", pa.bool_()), ("subject", pa.string()), ("day", pa.string()),
    ]
)  # fmt: skip
"""One row a prediction; `inputs` and `outputs` are JSON objects of its values by name; `day` is of event time."""

OUTCOMES = pa.schema(
    [
        ("prediction", pa.string()), ("value", pa.string()), ("at", pa.float64()), ("received_at", pa.float64()),
        ("source", pa.string()), ("day", pa.string()),
    ]
)  # fmt: skip
"""One row an outcome; `value` is JSON, so that 1, 1.0, true and "1" stay apart."""

T = TypeVar("T")
_SAME = ("endpoint", "release", "model", "version", "variant", "share", "received_at", "code", "shadow")
_outcome = msgspec.msgpack.Decoder(Outcome).decode
_UNIQUE = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
_WRITING = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    column_properties=dict.fromkeys(("prediction", "id", "key", "inputs", "outputs", "value"), _UNIQUE),
)
"""A dictionary, or the least and the largest, of texts that are all different costs three times the rest of a row."""
_json = msgspec.json.Encoder().encode


class Compacted(NamedTuple):
    """Rows that one compaction added, and segments it could not read on."""

    exchanges: int
    outcomes: int
    damaged: dict[str, str]


def compact(log: Path) -> Compacted:
    """Bring everything that was written to the journals into the tables.

    Args:
        log: ``HOME/log``.
    """
    damaged: dict[str, str] = {}
    with _alone(log / "tables"):
        exchanges = _compact_one(log / "journal", log / "tables" / "exchanges", _exchanges, damaged)
        outcomes = _compact_one(log / "outcomes", log / "tables" / "outcomes", _outcomes, damaged)
    return Compacted(exchanges, outcomes, damaged)


def prune(log: Path, *, keep_s: float = KEEP_S) -> list[Path]:
    """Remove segments that are in the tables whole and that nobody wrote to for `keep_s` seconds."""
    with _alone(log / "tables"):
        old = [
            *_whole(log / "journal", log / "tables" / "exchanges"),
            *_whole(log / "outcomes", log / "tables" / "outcomes"),
        ]
        removed = [path for path in old if time.time() - path.stat().st_mtime > keep_s]
        for path in removed:
            path.unlink()
    return removed


def _whole(journal: Path, table: Path) -> list[Path]:
    """Segments whose every byte is in the table."""
    delta = _open(table)
    if delta is None:
        return []
    return [path for path in segments(journal) if (delta.transaction_version(path.name) or 0) >= path.stat().st_size]


def exchanges(log: Path, *, endpoint: str = "", since: float = 0.0, until: float = 0.0) -> pa.Table:
    """Predictions by event time, one row each, oldest first.

    Args:
        log: ``HOME/log``.
        endpoint: All of them where empty.
        since: Seconds since the epoch, included.
        until: Excluded; 0 means no end.
    """
    query = (
        "SELECT * FROM exchanges WHERE event_time >= $since AND ($until = 0 OR event_time < $until) "
        "AND ($endpoint = '' OR endpoint = $endpoint) ORDER BY event_time, prediction"
    )
    with views(log) as connection:
        values = {"since": since, "until": until, "endpoint": endpoint}
        return connection.sql(query, params=values).to_arrow_table()


def outcomes(log: Path, *, as_of: float = 0.0) -> pa.Table:
    """Outcomes in order of arrival, those known at `as_of` (seconds since the epoch; 0 means now)."""
    query = "SELECT * FROM outcomes WHERE $as_of = 0 OR received_at <= $as_of ORDER BY received_at, prediction"
    with views(log) as connection:
        return connection.sql(query, params={"as_of": as_of}).to_arrow_table()


@contextmanager
def views(log: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB connection with the views ``exchanges`` and ``outcomes``."""
    connection = duckdb.connect(":memory:")
    try:
        for name, schema in (("exchanges", EXCHANGES), ("outcomes", OUTCOMES)):
            delta = _open(log / "tables" / name)
            rows = schema.empty_table() if delta is None else delta.to_pyarrow_dataset()
            connection.register(name, rows)
        yield connection
    finally:
        connection.close()


def _compact_one(journal: Path, table: Path, tabled: Callable[[list[bytes]], pa.Table], damaged: dict[str, str]) -> int:
    delta = _open(table)
    found: list[pa.Table] = []
    read: list[Transaction] = []
    for path in segments(journal):
        start = (delta.transaction_version(path.name) or 0) if delta is not None else 0
        if path.stat().st_size <= max(start, len(HEADER)):
            continue
        try:
            payloads, end = read_segment(path, start)
            rows = tabled(payloads)
        except (msgspec.DecodeError, Corrupt) as error:
            damaged[path.name] = str(error)
            continue
        if end > start:
            found.append(rows)
            read.append(Transaction(path.name, end))
    if not read:
        return 0
    rows = pa.concat_tables(found)
    write_deltalake(
        table,
        rows,
        mode="append",
        partition_by=["day"],
        commit_properties=CommitProperties(app_transactions=read),
        writer_properties=_WRITING,
    )
    _merge_small(table)
    return int(rows.num_rows)


def _merge_small(table: Path) -> None:
    """Many small files make reading slow: rewrite them as few."""
    delta = DeltaTable(table)
    if len(delta.file_uris()) > MANY_FILES:
        delta.optimize.compact()


def _open(table: Path) -> DeltaTable | None:
    try:
        return DeltaTable(table)
    except TableNotFoundError:
        return None


@contextmanager
def _alone(tables: Path) -> Iterator[None]:
    """One compaction at a time, over all processes; the lock dies with its holder."""
    tables.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(tables / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _exchanges(payloads: list[bytes]) -> pa.Table:
    """Captures column by column: a row costs a tenth of what it would one by one."""
    found: dict[str, list[object]] = {name: [] for name in EXCHANGES.names}
    for payload in payloads:
        for name, values in _capture_columns(decode(payload)).items():
            found[name] += values
    return pa.table([pa.array(found[field.name], field.type) for field in EXCHANGES], EXCHANGES)


def _capture_columns(capture: Capture) -> dict[str, Sequence[object]]:
    """A capture's rows by column of the table; a request that has none is one row without values."""
    lengths = [max(rows, 1) for rows in capture.rows] or [1] * len(capture.ids)
    whole = sum(lengths)
    ids = _each(capture.ids, lengths)
    rows = [row for length in lengths for row in range(length)]
    times = _each(capture.event_times, lengths) if capture.event_times else [capture.received_at] * whole
    same: dict[str, object] = {name: getattr(capture, name) for name in _SAME}
    return {
        **{name: [value] * whole for name, value in same.items()},
        "prediction": [f"{own_id}.{row}" for own_id, row in zip(ids, rows, strict=True)],
        "id": ids,
        "row": rows,
        "key": _each(capture.keys, lengths) if capture.keys else ids,
        "event_time": times,
        "latency_s": _each(capture.latencies_s, lengths),
        "inputs": _objects(capture.inputs, whole),
        "outputs": _objects(capture.outputs, whole),
        "client_id": _each(capture.client_ids, lengths) if capture.client_ids else [""] * whole,
        "subject": _each(capture.subjects, lengths) if capture.subjects else [""] * whole,
        "day": [_day(at) for at in times],
    }


def _each(values: Sequence[T], lengths: Sequence[int]) -> list[T]:
    """Each request's value, once for each of its rows."""
    if len(lengths) == sum(lengths):
        return list(values)
    return [value for value, length in zip(values, lengths, strict=True) for _ in range(length)]


def _objects(blocks: Sequence[Block], rows: int) -> list[bytes]:
    """Each row's values as a JSON object by name."""
    found = [json_column(block) for block in blocks]
    if not any(found):
        return [b"{}"] * rows
    names = [_json(block.name).replace(b"%", b"%%") for block in blocks]
    form = b"{%b}" % b",".join([name + b":%b" for name in names])
    return [form % row for row in zip(*found, strict=True)]


def _outcomes(payloads: list[bytes]) -> pa.Table:
    found = [_outcome(payload) for payload in payloads]
    lines = [
        (one.prediction, _json(one.value).decode(), one.at, one.received_at, one.source, _day(one.at)) for one in found
    ]
    return pa.table([list(column) for column in zip(*lines, strict=True)] or [[]] * len(OUTCOMES), OUTCOMES)


@lru_cache(4096)
def _day_of(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def _day(at: float) -> str:
    return _day_of(int(at // 86_400))
