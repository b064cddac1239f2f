"""Files that are whole or absent, whatever kills the process that writes them.

What comes in: bytes and a path. What goes out: a file that is on the disk, or no file and an error. Everything
that Penstock keeps beside its database (keys, tokens, signed heads, artifacts) is written by these functions.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp-"
"""What a name begins with until its content is whole; such a leftover may be removed by whoever holds the lock."""
_CHUNK_BYTES = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries (names made, renamed, removed) survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file that does not exist yet and sync its bytes; its name is synced by `sync_folder`.

    Raises:
        FileExistsError: There is one already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_new(source: Path, target: Path, *, mode: int = 0o600) -> None:
    """`write_new` of another file's bytes, which are never all in memory.

    Raises:
        FileExistsError: There is one already.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
        writer.flush()
        os.fsync(writer.fileno())


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write or replace a file in one step: a reader finds the old bytes or the new ones, never a part.

    The temporary name lies in the same folder. It is gone after an error; after a kill `remove_leftovers` finds it.

    Raises:
        OSError: No space, no right, a failing disk; the old file is untouched.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(8)}")
    try:
        write_new(temporary, data, mode=mode)
        os.rename(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder, and its parents, and sync the names; one that is there stays as it is."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent, mode=mode)
    with suppress(FileExistsError):
        os.mkdir(folder, mode)
    sync_folder(folder.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed writer left under a temporary name; only for who holds the lock of that folder."""
    with os.scandir(folder) as entries:
        left = [entry for entry in entries if entry.name.startswith(TEMPORARY)]
    for entry in left:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)


@contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on a file between processes; the kernel gives it back when the holder dies.

    Args:
        path: The lock's file; made when it is not there.
        shared: Many may hold it so; one that is not shared waits for all of them.
    """
    descriptor = _lock_file(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Like `locked`, but never waits: gives False when somebody holds it."""
    descriptor = _lock_file(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = True
    except BlockingIOError:
        held = False
    try:
        yield held
    finally:
        os.close(descriptor)


def _lock_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
