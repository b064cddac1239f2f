"""Tables as people have them: a file or a frame becomes a frame and a reference that can be found again."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pandas as pd

from penstock.build.request import Table
from penstock.gate.data import read_frame
from penstock.records import Dataset


def keep_table(table: Table, *, home: Path, name: str, role: str) -> tuple[pd.DataFrame, Dataset]:
    """Read a table and refer to it: a file stays where it is; a frame from memory is kept in the home.

    Returns:
        The frame, and its reference: digest of the bytes, rows, columns, place.
    """
    if isinstance(table, Path):
        path, frame = table.absolute(), read_frame(table)
    else:
        frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(np.asarray(table))
        path = _kept(frame, home / "datasets")
    columns = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
    return frame, Dataset(
        name=f"{name}-{role}", digest=digest_of(path), rows=len(frame), role=role, place=str(path), columns=columns
    )


def digest_of(path: Path) -> str:
    """``sha256:<hex>`` of a file's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _kept(frame: pd.DataFrame, folder: Path) -> Path:
    """Write a frame under its content's name."""
    folder.mkdir(parents=True, exist_ok=True)
    # Of this writer alone: two may keep a table at once.
    scratch = folder / f"incoming-{os.getpid()}-{threading.get_ident()}.tmp"
    frame.rename(columns=str).to_parquet(scratch, index=False)
    return scratch.replace(folder / f"{digest_of(scratch).removeprefix('sha256:')}.parquet")
