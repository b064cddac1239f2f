"""Events in one SQLite file: write-ahead log, a sync at every commit, safe between processes.

The file carries the number of its format; an older Penstock refuses a newer file without touching it. To
change the tables: raise FORMAT, add a migration to `_prepare`, keep a store of the old format in tests/golden.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import ConnectionPoolEntry

from penstock.errors import BadConfig, Conflict, Corrupt, Fault, NotFound, NotReady, PenstockError
from penstock.records import Event
from penstock.registry.store import Decide

FORMAT = 1
BUSY_TIMEOUT_MS = 10_000
_FIRST_BYTE_CODES = 0xFF
_METADATA = MetaData()
_FORMATS = Table("format", _METADATA, Column("number", Integer, primary_key=True))
_EVENTS = Table(
    "events",
    _METADATA,
    Column("seq", Integer, primary_key=True),
    Column("time", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("signature", Text, nullable=False),
    UniqueConstraint("subject", "generation"),
)
_FIELDS = Event.__struct_fields__
_LAST = select(func.coalesce(func.max(_EVENTS.c.seq), 0))


class SqliteStore:
    """A store in one file; threads and processes may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, place: Path, *, read_only: bool = False) -> Self:
        """Open or make the file; see `penstock.registry.store.Store.open`."""
        if read_only and not place.exists():
            raise NotFound("there is no registry here", "name the home folder that holds registry.db")
        if not read_only:
            # Made by us so that it is private from its first byte; SQLite takes an empty file for a new one.
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with ExitStack() as undo:
            store = cls(_engine(place, read_only=read_only))
            undo.callback(store.close)
            store._prepare(read_only=read_only)
            undo.pop_all()
        return store

    def read(self, since: int, limit: int) -> list[Event]:
        """The events above `since`; see the contract."""
        with self._transaction(write=False) as connection:
            return _read(connection, since, limit)

    def append(self, since: int, decide: Decide) -> Event:
        """Write the event that `decide` makes; see the contract."""
        with self._transaction(write=True) as connection:
            made = decide(_read(connection, since, -1))
            _claim(connection, made)
            connection.execute(insert(_EVENTS).values(msgspec.structs.asdict(made)))
        return made

    def check(self) -> list[str]:
        """SQLite's own look at every page and index."""
        with self._transaction(write=False) as connection:
            lines = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
        return [line for line in lines if line != "ok"]

    def close(self) -> None:
        """Close all connections; the last one folds the write-ahead log into the file."""
        self._engine.dispose()

    def _prepare(self, *, read_only: bool) -> None:
        """Make the tables of a new file in one transaction, or hold an old one against the format known here."""
        with self._transaction(write=False) as connection:
            made = inspect(connection).has_table(_FORMATS.name)
            number = connection.scalar(select(func.max(_FORMATS.c.number))) if made else None
        if number == FORMAT:
            return
        if number is not None:
            raise BadConfig(
                f"the registry has format {number}, this Penstock knows format {FORMAT}", "use the newer Penstock"
            )
        if made or read_only:
            raise Corrupt("the file is no registry", "restore it from a backup")
        with self._transaction(write=True) as connection:
            _METADATA.create_all(connection)
            if connection.scalar(select(func.count()).select_from(_FORMATS)) == 0:
                connection.execute(insert(_FORMATS).values(number=FORMAT))

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        """One transaction; what SQLite says is wrong comes out as one of our errors, with fresh connections after."""
        try:
            with self._engine.connect().execution_options(penstock_write=write) as connection, connection.begin():
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            self._engine.dispose()
            raise _translate(error) from error


def _read(connection: Connection, since: int, limit: int) -> list[Event]:
    rows = connection.execute(select(_EVENTS).where(_EVENTS.c.seq > since).order_by(_EVENTS.c.seq).limit(limit))
    return [_event(dict(zip(_FIELDS, row, strict=True))) for row in rows]


def _event(row: dict[str, object]) -> Event:
    try:
        return msgspec.convert(row, Event)
    except msgspec.ValidationError as error:
        seq, field = row.get("seq"), str(error).rpartition("$.")[2].strip("`")
        raise Corrupt(
            f"event {seq}: {field} is not of its type",
            "restore the registry from a backup",
            where=f"events[{seq}].{field}",
        ) from error


def _claim(connection: Connection, made: Event) -> None:
    """Compare and set: the event's number and its generation must be the next ones."""
    last = connection.scalar(_LAST) or 0
    count = connection.scalar(select(func.count()).where(_EVENTS.c.subject == made.subject)) or 0
    if made.seq != last + 1 or made.generation != count + 1:
        raise Conflict(f"the subject's generation is {count} now", "read the state again, then decide again")


def _engine(place: Path, *, read_only: bool) -> Engine:
    mode = "ro" if read_only else "rw"
    address = f"file:{_quoted(place.absolute())}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            address, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )

    engine = create_engine("sqlite+pysqlite://", creator=connect, pool_size=4)
    event.listen(engine, "connect", _configure if not read_only else _configure_reader)
    event.listen(engine, "begin", _begin)
    return engine


def _quoted(place: Path) -> str:
    return "".join(f"%{ord(c):02x}" if c in "%?#" else c for c in str(place))


def _configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    _configure_reader(connection, _entry)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _configure_reader(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    # Text that is no UTF-8 must reach the hash check, which names the event; SQLite's own error would not.
    connection.text_factory = _text
    connection.execute("PRAGMA trusted_schema=OFF")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("penstock_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _translate(error: DBAPIError | sqlite3.Error) -> PenstockError:
    if isinstance(error, IntegrityError):
        return Conflict("somebody else wrote first", "read the state again, then decide again")
    origin = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(origin, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _FIRST_BYTE_CODES
    name = getattr(origin, "sqlite_errorname", "unknown")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return NotReady("the registry is busy", "try again", code="registry.busy")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return NotReady(f"the registry cannot be written ({name})", "free space or rights", code="registry.disk")
    if code == sqlite3.SQLITE_IOERR:
        return Fault(f"the registry's disk failed ({name})", "check the disk", code="registry.disk")
    return Corrupt(f"the registry's file is damaged ({name})", "run `penstock verify`; restore it from a backup")
