"""A folder that somebody else may have made: walked and read without ever leaving it.

What comes in: a folder and canonical relative names. What goes out: names with sizes, and bytes. Containment
is by directory descriptor, not by looking at path strings: every component is opened below the one before,
never through a link; only regular files with exactly one name (link count 1) are read, and sizes come from
the open descriptor.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from penstock.errors import Untrusted
from penstock.packages.digests import CHUNK_BYTES

MAX_FILES = 10_000
MAX_DEPTH = 16
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ENTER = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY


def check_name(name: str) -> str:
    """The name itself, if it is the one canonical way to write a relative path inside a package.

    Raises:
        Untrusted: It is absolute, climbs, has empty, hidden or exotic segments, or is too deep.
    """
    segments = name.split("/")
    if len(segments) > MAX_DEPTH or not all(_SEGMENT.fullmatch(one) and one[-1] != "." for one in segments):
        raise Untrusted(
            "a file's name is not a plain relative path",
            "names are letters, digits, '.', '_' and '-', in folders separated by '/'",
            where=ascii(name)[1:121],
        )
    return name


def scan(folder: Path) -> dict[str, int]:
    """Every file below a folder, with its size in bytes.

    Raises:
        Untrusted: There is a link, a device, a second name for a file, or a name that is not canonical.
    """
    found: dict[str, int] = {}
    with _descriptor(_open_root(folder)) as root:
        for name, info in _walk(root, ""):
            found[name] = info.st_size
            if len(found) > MAX_FILES:
                raise Untrusted(f"the folder holds more than {MAX_FILES} files", "a package is smaller than that")
    folded = {name.casefold() for name in found}
    if len(folded) != len(found):
        raise Untrusted("two files differ in upper and lower case only", "give each its own name")
    return found


Stamps = dict[str, tuple[int, int, int, int]]
"""Name -> inode, size, time of the last write, time of the last change to its entry (which nobody can set)."""


def stamps(folder: Path) -> Stamps:
    """What tells whether a folder, a folder in it or a file was written, replaced or renamed since the last look.

    It does not tell who writes through memory that he mapped before: such a one is seen by `sha256_of` alone.

    Raises:
        Untrusted: There is something in it that `scan` refuses.
    """
    found: Stamps = {}
    with _descriptor(_open_root(folder)) as root:
        found[""] = _stamp(os.fstat(root))
        for name, info in _walk(root, "", found):
            found[name] = _stamp(info)
    return found


def read_bytes(folder: Path, name: str, *, limit: int) -> bytes:
    """The bytes of one small file.

    Raises:
        Untrusted: It is missing, no plain file, or longer than `limit` bytes.
    """
    with _descriptor(_open_root(folder)) as root, _file(root, name) as file:
        size = os.fstat(file).st_size
        if size > limit:
            raise Untrusted(f"the file is longer than {limit} bytes", "it is not what it says it is", where=name)
        with os.fdopen(os.dup(file), "rb", buffering=0) as whole:
            return whole.readall()


def sha256_of(folder: Path, name: str) -> str:
    """Hex SHA-256 of one file.

    Raises:
        Untrusted: It is missing or no plain file.
    """
    with _descriptor(_open_root(folder)) as root, _file(root, name) as file:
        digest = hashlib.sha256()
        for chunk in _chunks(file):
            digest.update(chunk)
        return digest.hexdigest()


@contextmanager
def open_file(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """One file of any length, to be read piece by piece.

    Raises:
        Untrusted: It is missing or no plain file.
    """
    with _descriptor(_open_root(folder)) as root, _file(root, name) as file, os.fdopen(os.dup(file), "rb") as content:
        yield content


def _open_root(folder: Path) -> int:
    """The folder itself; a link to it is its owner's business, links below it are not."""
    try:
        return os.open(folder, _ENTER & ~os.O_NOFOLLOW)
    except OSError as error:
        raise Untrusted("there is no package folder at that place", "check the path or the digest") from error


@contextmanager
def _descriptor(descriptor: int) -> Iterator[int]:
    """Closes what it was given."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _file(root: int, name: str) -> Iterator[int]:
    """An open, plain file below a root, reached component by component."""
    *folders, last = check_name(name).split("/")
    here = os.dup(root)
    try:
        for step in (*folders, last):
            below = _open_below(here, step, name, folder=step is not last)
            os.close(here)
            here = below
        _require_plain(os.fstat(here), name)
        yield here
    finally:
        os.close(here)


def _open_below(parent: int, step: str, name: str, *, folder: bool) -> int:
    """One component, never through a link."""
    try:
        return os.open(step, _ENTER if folder else _READ, dir_fd=parent)
    except FileNotFoundError as error:
        raise Untrusted("a file of the package is missing", "fetch the package again", where=name) from error
    except OSError as error:
        raise Untrusted("a file of the package is a link or cannot be read", "fetch it again", where=name) from error


def _stamp(info: os.stat_result) -> tuple[int, int, int, int]:
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _walk(parent: int, prefix: str, folders: Stamps | None = None) -> Iterator[tuple[str, os.stat_result]]:
    """Files below an open folder, depth first, in order of name; `folders` is told of those on the way."""
    with os.scandir(parent) as entries:
        names = sorted(entry.name for entry in entries)
    for step in names:
        name = check_name(prefix + step)
        info = os.stat(step, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            if folders is not None:
                folders[name] = _stamp(info)
            with _descriptor(_open_below(parent, step, name, folder=True)) as below:
                yield from _walk(below, f"{name}/", folders)
        else:
            _require_plain(info, name)
            yield name, info


def _require_plain(info: os.stat_result, name: str) -> None:
    """Refuse everything but a regular file that has one name."""
    if not stat.S_ISREG(info.st_mode):
        raise Untrusted("the package holds something that is no regular file", "fetch it again", where=name)
    if info.st_nlink != 1:
        raise Untrusted("a file of the package has a second name (hard link)", "copy the package", where=name)


def _chunks(descriptor: int) -> Iterator[bytes]:
    """The rest of an open file."""
    while chunk := os.read(descriptor, CHUNK_BYTES):
        yield chunk
