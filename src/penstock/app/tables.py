"""Tables as people have them: a file or a frame becomes a frame and a reference that can be found again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from penstock.errors import InvalidInput, NotFound
from penstock.records import Dataset

Table = Path | pd.DataFrame | npt.NDArray[np.generic]
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def check_name(name: str, what: str) -> None:
    """Names are ids: lower case, digits, dot, dash, underscore; never a path.

    Raises:
        InvalidInput: It is not such a name.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"that is no name for a {what}", "use lower-case letters, digits, '-', '_' and '.', at most 63", where=what
        )


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file, told apart by content.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is neither, or has no rows.
    """
    if not path.is_file():
        raise NotFound("there is no such data file", "check the path", code="app.no_data")
    with path.open("rb") as file:
        magic = file.read(4)
    try:
        frame = pd.read_parquet(path) if magic == b"PAR1" else pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise InvalidInput(
            "the data file is neither Parquet nor CSV", "save it as one of them", where="data"
        ) from error
    if frame.empty:
        raise InvalidInput("the data file has no rows", "give rows the model has not been trained on", where="data")
    return frame


def keep_table(table: Table, *, home: Path, name: str, role: str) -> tuple[pd.DataFrame, Dataset]:
    """Read a table and refer to it: a file stays where it is; a frame from memory is kept in the home.

    Returns:
        The frame, and its reference: digest of the bytes, rows, columns, place.
    """
    if isinstance(table, Path):
        path, frame = table.absolute(), read_table(table)
    else:
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(np.asarray(table))
        path = _kept(frame, home / "datasets")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    columns = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
    return frame, Dataset(
        name=f"{name}-{role}", digest=f"sha256:{digest}", rows=len(frame), role=role, place=str(path), columns=columns
    )


def _kept(frame: pd.DataFrame, folder: Path) -> Path:
    """Write a frame under its content's name."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "incoming.parquet.tmp"
    frame.rename(columns=str).to_parquet(scratch, index=False)
    with scratch.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return scratch.replace(folder / f"{digest}.parquet")
