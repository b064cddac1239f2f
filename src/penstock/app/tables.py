"""Tables as people have them: what they name or hold becomes a frame and a reference that can be found again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pandas as pd

from penstock.app.references import STORE, DataReference, digest_of, open_reference
from penstock.app.summaries import span_of, summarise
from penstock.build.request import Table
from penstock.records import Dataset
from penstock.statistics.arraytables import frame_of, write_table


def keep_table(table: Table, *, home: Path, name: str, role: str, time: str = "") -> tuple[pd.DataFrame, Dataset]:
    """Read a table and refer to it: what lies on a disk stays there; a frame from memory is kept in the home.

    Args:
        table: A frame or an array, or what `penstock.app.references` can find.
        home: The home folder.
        name: The model's.
        role: What the table serves for.
        time: Column that says when; empty without.

    Returns:
        The frame, and its reference.

    Raises:
        NotFound: It is not on this machine.
        BadConfig: It is of no known kind.
        Untrusted: It is not what its pointer says.
    """
    if isinstance(table, Path):
        found = open_reference(table, home=home)
        frame = found.read()
    else:
        frame = table if isinstance(table, pd.DataFrame) else frame_of(table)
        found = open_reference(_kept(frame, home / STORE), home=home)
    return frame, dataset_of(found, frame, name=f"{name}-{role}", role=role, time=time)


def dataset_of(found: DataReference, frame: pd.DataFrame, *, name: str, role: str, time: str = "") -> Dataset:
    """What is written down of data that were found and read."""
    span = span_of(frame, time)
    return Dataset(
        name=name,
        digest=found.digest,
        rows=len(frame),
        role=role,
        place=str(found.place),
        columns={str(column): str(dtype) for column, dtype in frame.dtypes.items()},
        kind=found.kind,
        revision=found.revision,
        since=span.since,
        until=span.until,
        profile=summarise(frame),
    )


def _kept(frame: pd.DataFrame, folder: Path) -> Path:
    """Write a frame under its content's name."""
    folder.mkdir(parents=True, exist_ok=True)
    # Of this writer alone: two may keep a table at once.
    scratch = folder / f"incoming-{os.getpid()}-{threading.get_ident()}.tmp"
    write_table(frame.rename(columns=str), scratch)
    return scratch.replace(folder / f"{digest_of(scratch).removeprefix('sha256:')}.parquet")
