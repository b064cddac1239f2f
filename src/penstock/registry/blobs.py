"""Artifacts by digest: a folder of folders and files whose name is the SHA-256 of what they hold.

    bytes or folder -> temporary name beside -> synced -> renamed -> path(digest)

An artifact is there whole or not at all, and never changes; putting it twice is putting it once.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from penstock.access.files import (
    TEMPORARY,
    copy_new,
    locked,
    locked_if_free,
    make_folder,
    remove_leftovers,
    sync_folder,
    write_new,
    write_whole,
)
from penstock.errors import InvalidInput, NotFound, Untrusted

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SUFFIX = re.compile(r"(\.[a-z0-9]+)?")
_READ_ONLY = 0o444


class Blobs:
    """One folder of artifacts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Beside the folder, so that the folder holds artifacts and nothing else.
        self._lock = folder.with_name(f"{folder.name}.lock")

    def clean(self) -> None:
        """Make the folder, and remove what a killed writer left, unless somebody is writing now."""
        make_folder(self._folder)
        with locked_if_free(self._lock) as free:
            if free:
                remove_leftovers(self._folder)

    def put_bytes(self, data: bytes, *, suffix: str = "") -> str:
        """Keep bytes; gives their digest, ``sha256:<hex>``.

        Args:
            data: What to keep.
            suffix: A file name's end (``.html``), for people and browsers.
        """
        hexdigest = hashlib.sha256(data).hexdigest()
        place = self._folder / f"{hexdigest}{_checked(suffix)}"
        if place.exists():
            # Who renamed it may have died before the name was on the disk.
            sync_folder(self._folder)
        else:
            with locked(self._lock, shared=True):
                write_whole(place, data, mode=_READ_ONLY)
        return f"sha256:{hexdigest}"

    def put_folder(self, source: Path, digest: str, *, check: Callable[[Path], object] | None = None) -> Path:
        """Keep a copy of a folder under its digest; gives the copy's place.

        Args:
            source: A folder of regular files and folders.
            digest: Its name here, ``sha256:<hex>``; what it is the digest of is the caller's matter.
            check: Called with the copy before it gets its name; what it raises refuses the copy.

        Raises:
            Untrusted: There is a link or a device in it.
            OSError: No space, no right, a failing disk; nothing is left behind.
        """
        place = self._folder / _hex(digest)
        if place.exists():
            sync_folder(self._folder)
            return place
        temporary = self._folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        with locked(self._lock, shared=True):
            try:
                _copy(source, temporary)
                if check is not None:
                    check(temporary)
                _take_name(temporary, place)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return place

    def put_file(self, digest: str, name: str, data: bytes) -> None:
        """Replace one file of a folder that is here: one that its digest does not cover, such as its signature.

        Raises:
            NotFound: There is no such folder.
            OSError: No space, no right, a failing disk; the old file is untouched.
        """
        place = self.path(digest)
        temporary = self._folder / f"{TEMPORARY}{secrets.token_hex(8)}"
        with locked(self._lock, shared=True):
            try:
                write_new(temporary, data, mode=_READ_ONLY)
                # Whoever reads the folder meanwhile finds the old file or the new one, and no third name.
                os.rename(temporary, place / name)
            finally:
                temporary.unlink(missing_ok=True)
        sync_folder(place)

    def path(self, digest: str, *, suffix: str = "") -> Path:
        """Where an artifact is.

        Raises:
            NotFound: It is not here.
        """
        place = self._folder / f"{_hex(digest)}{_checked(suffix)}"
        if not place.exists():
            raise NotFound("there is no artifact of that digest", "import it, or package the model again")
        return place


def _hex(digest: str) -> str:
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidInput("not a digest", "write it as sha256:<64 hex digits>", where="digest")
    return match.group(1)


def _checked(suffix: str) -> str:
    if not _SUFFIX.fullmatch(suffix):
        raise InvalidInput("not a file name's end", "write it as .html", where="suffix")
    return suffix


def _copy(source: Path, target: Path) -> None:
    """Copy file by file, never through a link, and sync each file, then the folder that names it."""
    os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            _copy(Path(entry.path), target / entry.name)
        elif stat.S_ISREG(mode):
            copy_new(Path(entry.path), target / entry.name, mode=_READ_ONLY)
        else:
            raise Untrusted("there is a link or a device in the folder", "put the file itself there", where=entry.name)
    sync_folder(target)


def _take_name(temporary: Path, place: Path) -> None:
    """Rename; where another writer of the same content was faster, theirs stays."""
    with suppress(FileExistsError):
        try:
            os.rename(temporary, place)
        except OSError:
            if not place.is_dir():
                raise
    sync_folder(place.parent)
