"""The inference log as tables: journals are compacted into Delta, each frame exactly once.

    journal/*.wal, outcomes/*.wal --compact--> tables/exchanges, tables/outcomes (Delta) --read--> Arrow, DuckDB views

How far each segment was read is part of the Delta commit that holds its rows (an application transaction whose
version is the offset), so a compaction that is killed anywhere is simply done again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError

from penstock.errors import Corrupt
from penstock.log.captures import unpack
from penstock.log.journal import HEADER, read_segment
from penstock.log.tail import segments
from penstock.records import Exchange, Outcome

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

Line = dict[str, str | int | float | bool]
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
        exchanges = _compact_one(log / "journal", log / "tables" / "exchanges", _exchange_lines, damaged)
        outcomes = _compact_one(log / "outcomes", log / "tables" / "outcomes", _outcome_lines, damaged)
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


def _compact_one(
    journal: Path, table: Path, lines: Callable[[list[bytes]], tuple[list[Line], pa.Schema]], damaged: dict[str, str]
) -> int:
    delta = _open(table)
    found: list[Line] = []
    read: list[Transaction] = []
    schema = pa.schema([])
    for path in segments(journal):
        start = (delta.transaction_version(path.name) or 0) if delta is not None else 0
        if path.stat().st_size <= max(start, len(HEADER)):
            continue
        try:
            payloads, end = read_segment(path, start)
            new, schema = lines(payloads)
        except (msgspec.DecodeError, Corrupt) as error:
            damaged[path.name] = str(error)
            continue
        if end > start:
            found += new
            read.append(Transaction(path.name, end))
    if not read:
        return 0
    rows = pa.Table.from_pylist(found, schema)
    properties = CommitProperties(app_transactions=read)
    write_deltalake(table, rows, mode="append", partition_by=["day"], commit_properties=properties)
    _merge_small(table)
    return len(found)


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


def _exchange_lines(payloads: list[bytes]) -> tuple[list[Line], pa.Schema]:
    found: list[Line] = []
    for exchange in chain.from_iterable(map(unpack, payloads)):
        shared = _shared(exchange)
        for row in range(max(exchange.rows, 1)):
            values: Line = {
                "prediction": f"{exchange.id}.{row}",
                "row": row,
                "inputs": _json({name: column[row] for name, column in exchange.inputs.items()}).decode(),
                "outputs": _json({name: column[row] for name, column in exchange.outputs.items()}).decode(),
            }
            found.append(shared | values)
    return found, EXCHANGES


def _shared(exchange: Exchange) -> Line:
    """What all rows of an exchange have in common."""
    columns = [name for name in EXCHANGES.names if name not in ("prediction", "row", "inputs", "outputs", "day")]
    return {name: getattr(exchange, name) for name in columns} | {"day": _day(exchange.event_time)}


def _outcome_lines(payloads: list[bytes]) -> tuple[list[Line], pa.Schema]:
    decode = msgspec.msgpack.Decoder(Outcome).decode
    found: list[Line] = []
    for payload in payloads:
        outcome = decode(payload)
        found.append(
            {
                "prediction": outcome.prediction,
                "value": _json(outcome.value).decode(),
                "at": outcome.at,
                "received_at": outcome.received_at,
                "source": outcome.source,
                "day": _day(outcome.at),
            }
        )
    return found, OUTCOMES


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
