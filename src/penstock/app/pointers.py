"""Files that stand for other files: DVC's and git-lfs's pointers.

Comes in: a pointer's bytes. Goes out: the sum that the data must have, and the file on this machine that has it.
"""

from __future__ import annotations

import configparser
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import yaml

from penstock.errors import BadConfig, NotFound, Untrusted

_LFS = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?oid sha256:([0-9a-f]{64})\n"
)
_MAX_POINTER = 1 << 20
_DIR = ".dir"
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


class TrackedFile(NamedTuple):
    """Data under DVC.

    Attributes:
        path: Where they lie when they are checked out.
        md5: What DVC knows them by; ends in ``.dir`` for a folder.
    """

    path: Path
    md5: str

    def find(self) -> Path:
        """The file or folder with these bytes: where it is checked out, else in DVC's cache.

        Raises:
            NotFound: This machine does not have them.
            Untrusted: What is checked out is something else, and the cache does not have them.
        """
        if self.md5.endswith(_DIR):
            return self._folder()
        if self.path.is_file() and self.md5 in _sums(self.path):
            return self.path
        cached = self._cached(self.md5)
        if cached is not None and self.md5 in _sums(cached):
            return cached
        raise self._lacking()

    def _folder(self) -> Path:
        """A checked-out folder, each of whose files is what DVC's list says."""
        listed = self._cached(self.md5)
        if listed is None or f"{_sum(listed)}{_DIR}" != self.md5:
            raise self._lacking()
        try:
            entries = msgspec.json.decode(listed.read_bytes(), type=list[_Entry])
        except msgspec.DecodeError as error:
            raise Untrusted("DVC's list of a folder is damaged", "run dvc pull", where=self.path.name) from error
        files = {file.relative_to(self.path).as_posix(): file for file in self.path.rglob("*") if file.is_file()}
        if {one.relpath for one in entries} != files.keys():
            raise self._lacking()
        if any(one.md5 not in _sums(files[one.relpath]) for one in entries):
            raise self._lacking()
        return self.path

    def _cached(self, md5: str) -> Path | None:
        """The object of that sum in the cache, in either of the layouts that DVC has had."""
        for cache in _caches(self.path.parent):
            for part in ("files/md5", ""):
                place = cache / part / md5[:2] / md5[2:]
                if place.is_file():
                    return place
        return None

    def _lacking(self) -> NotFound | Untrusted:
        if self.path.exists():
            return Untrusted("the data are not those that the DVC file names", "run dvc checkout", where=self.path.name)
        return NotFound("the data of the DVC file are not on this machine", "run dvc pull", where=self.path.name)


class _Entry(msgspec.Struct):
    """One file of a folder under DVC."""

    md5: str
    relpath: str


class _Out(msgspec.Struct):
    """One output of a DVC file."""

    path: str
    md5: str = ""


class _Tracking(msgspec.Struct):
    """A DVC file: of its fields those that say which bytes are meant."""

    outs: list[_Out]
    wdir: str = "."


def tracked_by(pointer: Path, place: Path) -> TrackedFile:
    """What a DVC file names.

    Args:
        pointer: The file with its bytes.
        place: Where such a file lies: paths in it are relative to that.

    Raises:
        BadConfig: It is no DVC file, names several outputs or other sums, or points out of its folder.
    """
    try:
        with pointer.open("rb") as file:
            found = msgspec.convert(yaml.safe_load(file.read(_MAX_POINTER)), _Tracking)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadConfig("that is no DVC file", "dvc add makes one", where=place.name) from error
    if len(found.outs) != 1 or not _MD5.fullmatch(found.outs[0].md5):
        raise BadConfig("the DVC file does not name one output by its MD5", "give one that does", where=place.name)
    path = Path(found.wdir) / found.outs[0].path
    if path.is_absolute() or ".." in path.parts:
        raise BadConfig("the DVC file names data outside of its folder", "give the data themselves", where=place.name)
    return TrackedFile(place.parent / path, found.outs[0].md5)


def lfs_oid(file: Path) -> str:
    """The SHA-256 that a git-lfs pointer names; empty where the file is none."""
    if file.stat().st_size > 1024:
        return ""
    match = _LFS.match(file.read_bytes())
    return match[1].decode() if match else ""


def _caches(folder: Path) -> Iterator[Path]:
    """DVC's cache of the project that a folder is in, as its settings name it."""
    for parent in (folder, *folder.parents):
        settings = parent / ".dvc"
        if not settings.is_dir():
            continue
        for name in ("config.local", "config"):
            known = configparser.ConfigParser(interpolation=None, strict=False)
            try:
                known.read(settings / name)
            except configparser.Error:
                continue
            if named := known.get("cache", "dir", fallback="").strip("\"'"):
                yield settings / named
        yield settings / "cache"
        return


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _sums(file: Path) -> Iterator[str]:
    """The MD5 of the bytes; DVC before 3 took that of a text with plain line ends."""
    yield _sum(file)
    plain = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as content:
        for line in content:
            plain.update(line.replace(b"\r\n", b"\n"))
    yield plain.hexdigest()
