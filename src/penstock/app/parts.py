"""Tables of several files: a folder of parquet, a Delta table at a version.

Comes in: a folder. Goes out: `TableParts`: the very files that hold the rows, and a way to read them. Files that are
there and hold no row of that state (a log, what a later version replaced) are no part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from penstock.errors import BadConfig, NotFound

_LOG = "_delta_log"
_LEFT_OUT = ("_", ".")


@dataclass(frozen=True)
class TableParts:
    """A table's files.

    Attributes:
        folder: That they lie in.
        files: Relative paths.
        table: Reads them.
        version: Of a Delta table; -1 of a plain folder.
    """

    folder: Path
    files: tuple[str, ...]
    table: Callable[[], pa.Table]
    version: int = -1

    def read(self) -> pd.DataFrame:
        """The rows, in the order of the files.

        Raises:
            BadConfig: The files are of no one table.
        """
        try:
            frame: pd.DataFrame = self.table().to_pandas()
        except (pa.ArrowException, DeltaError, OSError, ValueError, NotImplementedError) as error:
            raise BadConfig("the files are no table that can be read", _HINT, where=self.folder.name) from error
        return frame


_HINT = "every file has to be parquet, of the same columns"


def is_delta(place: Path) -> bool:
    """Whether a folder is a Delta table."""
    return (place / _LOG).is_dir()


def parquet_folder(place: Path) -> TableParts:
    """Every parquet file below a folder; ``column=value`` in a path is a column.

    Raises:
        BadConfig: It holds none.
    """
    names = [file.relative_to(place) for file in place.rglob("*.parquet") if file.is_file()]
    files = tuple(
        sorted(name.as_posix() for name in names if not any(part.startswith(_LEFT_OUT) for part in name.parts))
    )
    if not files:
        raise BadConfig("the folder holds no parquet file", "give a file, or a folder of parquet", where=place.name)
    return TableParts(place, files, partial(_folder_table, place, files))


def delta_version(place: Path, version: str) -> TableParts:
    """A Delta table's rows as they were at a version.

    Args:
        place: The table's folder.
        version: A number; empty for the newest.

    Raises:
        BadConfig: That is no number of a version that it has, or it is a table that cannot be read.
        NotFound: The version's files are gone.
    """
    if version and not (version.isascii() and version.isdigit()):
        raise BadConfig("a Delta table's version is a number", "give TABLE@3", where=place.name)
    try:
        table = DeltaTable(str(place), version=int(version) if version else None)
    except (DeltaError, OverflowError) as error:
        raise BadConfig("the Delta table has no such version", "look at its history", where=place.name) from error
    # The log has paths as URLs have them.
    actions = pa.table(table.get_add_actions(flatten=True))
    files = tuple(sorted(unquote(name) for name in actions["path"].to_pylist()))
    if any("://" in name or name.startswith("/") or ".." in name.split("/") for name in files):
        raise BadConfig("the Delta table holds files of another place", "give that table", where=place.name)
    if not all((place / name).is_file() for name in files):
        raise NotFound(
            "files of that version of the Delta table are gone",
            "it was vacuumed; name a later version",
            where=place.name,
        )
    return TableParts(place, files, partial(_delta_table, table), table.version())


def _folder_table(place: Path, files: tuple[str, ...]) -> pa.Table:
    # Relative names: a "=" further up in the path is no column.
    folder = SubTreeFileSystem(str(place), LocalFileSystem())
    return ds.dataset(list(files), format="parquet", filesystem=folder, partitioning="hive").to_table()


def _delta_table(table: DeltaTable) -> pa.Table:
    return table.to_pyarrow_dataset().to_table()
