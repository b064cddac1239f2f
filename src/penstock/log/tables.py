"""The inference log as tables: journals are compacted into Delta, each frame exactly once.

    journal/*.wal, outcomes/*.wal --compact--> tables/exchanges, tables/outcomes (Delta) --read--> Arrow, DuckDB views

How far each segment was read is part of the Delta commit that holds its rows (an application transaction whose
version is the offset), so a compaction that is killed anywhere is simply done again.
"""

from __future__ import annotations

import fcntl
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from penstock.errors import Corrupt
from penstock.log.exchangetable import EXCHANGES, day, exchange_table
from penstock.log.journal import HEADER, read_segment
from penstock.log.tail import segments
from penstock.records import Outcome

MANY_FILES = 64
READ_BYTES = 512 << 10
"""Of a journal at once: what becomes of it stays in the caches, and its memory is used again for the next."""
GROUP_ROWS = 16_384
"""Rows that are written at once: a row group of a table's file."""
KEEP_S = 24 * 3600.0

OUTCOMES = pa.schema(
    [
        ("prediction", pa.string()), ("value", pa.string()), ("at", pa.float64()), ("received_at", pa.float64()),
        ("source", pa.string()), ("day", pa.string()),
    ]
)  # fmt: skip
"""One row an outcome; `value` is JSON, so that 1, 1.0, true and "1" stay apart."""

_outcome = msgspec.msgpack.Decoder(Outcome).decode
_REPEATED = (
    "row",
    "endpoint",
    "release",
    "model",
    "version",
    "variant",
    "share",
    "code",
    "shadow",
    "subject",
    "source",
)
"""A dictionary of values that are all different costs more than the rest of a row."""
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
    with _alone(log / "tables"), _uncollected():
        exchanges = _compact_one(log / "journal", log / "tables" / "exchanges", exchange_table, damaged)
        outcomes = _compact_one(log / "outcomes", log / "tables" / "outcomes", _outcomes, damaged)
    return Compacted(exchanges, outcomes, damaged)


def prune(log: Path, *, keep_s: float = KEEP_S, held: Collection[str] = ()) -> list[Path]:
    """Remove segments that are in the tables whole and that nobody wrote to for `keep_s` seconds.

    Args:
        log: ``HOME/log``.
        keep_s: Since the last write.
        held: Names of segments that somebody still reads.
    """
    with _alone(log / "tables"):
        old = [
            *_whole(log / "journal", log / "tables" / "exchanges"),
            *_whole(log / "outcomes", log / "tables" / "outcomes"),
        ]
        removed = [path for path in old if path.name not in held and time.time() - path.stat().st_mtime > keep_s]
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
    read: dict[str, int] = {}
    with _Files(table) as files:
        for path in segments(journal):
            at = (delta.transaction_version(path.name) or 0) if delta is not None else 0
            if path.stat().st_size <= max(at, len(HEADER)):
                continue
            try:
                while (part := read_segment(path, at, READ_BYTES))[1] > at:
                    files.add(tabled(part[0]))
                    at = read[path.name] = part[1]
            except (msgspec.DecodeError, Corrupt) as error:
                damaged[path.name] = str(error)
    if files.rows:
        _commit(delta, table, files, [Transaction(name, end) for name, end in read.items()])
        _merge_small(table)
    return files.rows


class _Files:
    """New files of a table, one a day, that are no part of it until they are committed.

    Arrow writes them: Delta's own writer first sorts the rows by day, at twice the price.
    """

    def __init__(self, table: Path) -> None:
        self.rows = 0
        self._table = table
        self._found: list[pa.Table] = []
        self._writers: dict[str, tuple[str, pq.ParquetWriter]] = {}
        self._rows: Counter[str] = Counter()

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *ended: object) -> None:
        self._write()
        for _, writer in self._writers.values():
            writer.close()

    def add(self, rows: pa.Table) -> None:
        """Write them, at the latest when this ends."""
        self._found.append(rows)
        self.rows += rows.num_rows
        if sum(part.num_rows for part in self._found) >= GROUP_ROWS:
            self._write()

    def actions(self) -> list[AddAction | RemoveAction]:
        """What Delta has to know of each."""
        now = int(time.time() * 1000)
        return [
            AddAction(
                name, (self._table / name).stat().st_size, {"day": date}, now, True,
                _json({"numRecords": self._rows[date]}).decode(),
            )
            for date, (name, _) in self._writers.items()
        ]  # fmt: skip

    def _write(self) -> None:
        if not self._found:
            return
        rows = pa.concat_tables(self._found)
        self._found.clear()
        for date in rows["day"].unique().to_pylist():
            part = rows.filter(pc.equal(rows["day"], date)).drop_columns("day")
            self._writer(date, part.schema).write_table(part)
            self._rows[date] += part.num_rows

    def _writer(self, date: str, schema: pa.Schema) -> pq.ParquetWriter:
        if date not in self._writers:
            name = f"day={date}/{uuid4()}.zstd.parquet"
            (self._table / name).parent.mkdir(parents=True, exist_ok=True)
            repeated = [column for column in schema.names if column in _REPEATED]
            writer = pq.ParquetWriter(
                self._table / name, schema, compression="zstd", compression_level=1, use_dictionary=repeated
            )
            self._writers[date] = name, writer
        return self._writers[date][1]


def _commit(delta: DeltaTable | None, table: Path, files: _Files, read: list[Transaction]) -> None:
    """Make the files, and how far was read, part of the table in one step."""
    schema = EXCHANGES if table.name == "exchanges" else OUTCOMES
    delta = delta or DeltaTable.create(table, schema, partition_by=["day"])
    delta.create_write_transaction(
        files.actions(),
        mode="append",
        schema=delta.schema(),
        partition_by=["day"],
        commit_properties=CommitProperties(app_transactions=read),
    )


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
def _uncollected() -> Iterator[None]:
    """Without the collector: what is made here has no cycles, and looking for some takes half as long again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


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


def _outcomes(payloads: list[bytes]) -> pa.Table:
    found = [_outcome(payload) for payload in payloads]
    lines = [
        (one.prediction, _json(one.value).decode(), one.at, one.received_at, one.source, day(one.at)) for one in found
    ]
    return pa.table([list(column) for column in zip(*lines, strict=True)] or [[]] * len(OUTCOMES), OUTCOMES)
