"""What ``--data`` may name, besides a table in memory: data in one state, found again by digest.

    rows.csv            a file: csv, parquet or npz
    rows/               a folder of parquet files
    table/  table/@3    a Delta table, as it is now or at a version
    rows.csv@REV        a file of a git repository at a commit, branch or tag
    rows.csv.dvc        what a DVC file points to (``@REV`` where the pointer is to be that of a commit)
    a git-lfs pointer   the object it points to

What comes in: a path as a person writes it. What goes out: a `DataReference`, whose bytes have been digested and, where
the pointer says what they must be, checked. Nothing is fetched: what is not on this machine is told with the command
that brings it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from penstock.app.parts import TableParts, delta_version, is_delta, parquet_folder
from penstock.app.pointers import TrackedFile, lfs_oid, tracked_by
from penstock.app.repositories import blob_at, commit_at, lfs_object
from penstock.errors import BadConfig, NotFound, Untrusted
from penstock.gate.data import read_frame
from penstock.records import Dataset

DVC = ".dvc"
MD5 = "md5:"
SHA256 = "sha256:"
STORE = "datasets"
"""Folder of the home in which data lie that have no file of their own name elsewhere."""

_OTHER = "name the rows to judge on with --data, or package the model again with the data as they are now"


@dataclass(frozen=True)
class DataReference:
    """Data in one state.

    Attributes:
        kind: As `penstock.records.Dataset` has it.
        place: Absolute path of what was named.
        source: Where its bytes are.
        revision: Which state of `place` it is.
        digest: ``sha256:<hex>``.
    """

    kind: str
    place: Path
    source: Path | TableParts
    revision: str
    digest: str

    def read(self, *, text: Sequence[str] = ()) -> pd.DataFrame:
        """The rows; `text` names columns of a csv that are text whatever they look like.

        Raises:
            BadConfig: They cannot be read.
        """
        return read_frame(self.source, text=text) if isinstance(self.source, Path) else self.source.read()


def open_reference(named: Path, *, home: Path) -> DataReference:
    """Find what a person named.

    Raises:
        NotFound: It is not there, or not on this machine.
        BadConfig: It is of no known kind, or has no such revision.
        Untrusted: The bytes are not those that a pointer names.
    """
    place, revision = _parted(named.absolute())
    if place.suffix == DVC:
        return _tracked(place, revision, home)
    if is_delta(place):
        table = delta_version(place, revision)
        return _reference("delta", place, table, str(table.version))
    if place.is_dir():
        if revision:
            raise BadConfig("a folder of files has no revisions", "name a file of it", where=place.name)
        return _reference("folder", place, parquet_folder(place), "")
    if revision:
        return _at_commit(place, revision, home)
    if not place.is_file():
        raise BadConfig("there is no such data file", "check the path", where=place.name)
    if oid := lfs_oid(place):
        return _reference("lfs", place, _pointed(place, oid, home), f"{SHA256}{oid}")
    return _reference("file", place, place, "")


def reopen(dataset: Dataset, *, home: Path) -> DataReference:
    """Find a dataset again, by what was written down of it.

    Raises:
        NotFound: It is no longer there.
        Untrusted: Its bytes are not those that were registered.
    """
    place, digest = Path(dataset.place), dataset.digest.removeprefix(SHA256)
    kept = sorted((home / STORE).glob(f"{digest}.*")) if dataset.kind in ("git", "dvc", "lfs") else []
    try:
        if kept:
            found = _reference(dataset.kind, place, kept[0], dataset.revision)
        elif dataset.kind == "file" and not place.is_file():
            raise NotFound("it is gone")
        else:
            pinned = dataset.revision and dataset.kind != "lfs"
            found = open_reference(Path(f"{place}@{dataset.revision}") if pinned else place, home=home)
    except (NotFound, BadConfig) as error:
        raise NotFound(
            "a data file of this version is no longer there", _OTHER, code="gate.no_data", where=dataset.role
        ) from error
    if found.digest != dataset.digest:
        raise Untrusted("a data file has changed since the version was packaged", _OTHER, where=dataset.role)
    return found


def digest_of(path: Path) -> str:
    """``sha256:<hex>`` of a file's bytes."""
    with path.open("rb") as file:
        return f"{SHA256}{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _reference(kind: str, place: Path, source: Path | TableParts, revision: str) -> DataReference:
    """With its digest; of several files that of a list as ``sha256sum`` writes it, in the order of their paths."""
    if isinstance(source, Path):
        return DataReference(kind, place, source, revision, digest_of(source))
    lines = [f"{digest_of(source.folder / name).removeprefix(SHA256)}  {name}\n" for name in sorted(source.files)]
    return DataReference(
        kind, place, source, revision, f"{SHA256}{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
    )


def _parted(named: Path) -> tuple[Path, str]:
    """A place and its revision; what is there under the whole name has none."""
    text = str(named)
    place, _, revision = text.rpartition("@")
    return (named, "") if named.exists() or not (place and revision) else (Path(place), revision)


def _at_commit(place: Path, revision: str, home: Path) -> DataReference:
    """A file as a commit has it, or as the commit's pointer names it."""
    commit = commit_at(place, revision)
    with blob_at(place, commit) as blob:
        oid = lfs_oid(blob)
        return _reference("git", place, _pointed(place, oid, home) if oid else _kept(blob, place, home), commit)


def _pointed(place: Path, oid: str, home: Path) -> Path:
    """The object that a git-lfs pointer names, if it is what the pointer says."""
    found = lfs_object(place, oid)
    if digest_of(found) != f"{SHA256}{oid}":
        raise Untrusted("the data are not those that the git-lfs pointer names", "run git lfs pull", where=place.name)
    return _kept(found, place, home)


def _tracked(place: Path, revision: str, home: Path) -> DataReference:
    """What a DVC file points to: the pointer here, a commit's, or the bytes of a sum that was written down."""
    if revision.startswith(MD5):
        found = TrackedFile(place.with_suffix(""), revision.removeprefix(MD5))
    elif revision:
        with blob_at(place, commit_at(place, revision)) as blob:
            found = tracked_by(blob, place)
    else:
        if not place.is_file():
            raise NotFound("there is no such DVC file", "check the path", where=place.name)
        found = tracked_by(place, place)
    source, revision = found.find(), f"{MD5}{found.md5}"
    if source.is_dir():
        return _reference("dvc", place, parquet_folder(source), revision)
    return _reference("dvc", place, source if source == found.path else _kept(source, found.path, home), revision)


def _kept(source: Path, named: Path, home: Path) -> Path:
    """A copy under its digest in the home, with the endings of the name that it is known by."""
    place = home / STORE / f"{digest_of(source).removeprefix(SHA256)}{''.join(named.suffixes) or '.data'}"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        # Of this writer alone: two may keep a file at once.
        scratch = place.with_name(f"incoming-{os.getpid()}-{threading.get_ident()}.tmp")
        shutil.copyfile(source, scratch)
        scratch.replace(place)
    return place
