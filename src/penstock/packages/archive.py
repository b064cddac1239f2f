"""Packages in one file: our own strict reader of tar and zip, and a writer whose bytes depend on the content alone.

    archive -> kind by content -> member by member, each checked before it is written -> fresh folder -> rename

What comes in: a file that anybody may have made. What goes out: a folder, whole or not at all. Only regular files
and folders; names canonical, relative and unique; number, size and ratio capped before anything grows.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, NamedTuple, Protocol

from penstock.errors import Conflict, Untrusted
from penstock.packages.tar import read_members as tar_members
from penstock.packages.tree import check_name, scan
from penstock.packages.zip import read_members as zip_members
from penstock.records import Manifest

ZIP = b"PK\x03\x04"


class Caps(NamedTuple):
    """What an archive may grow to.

    Attributes:
        files: Members, folders included.
        total_bytes: All files together.
        ratio: Unpacked bytes per packed byte, beyond the first MiB.
    """

    files: int = 4096
    total_bytes: int = 8 << 30
    ratio: int = 200


DEFAULT_CAPS = Caps()


class MadePackage(NamedTuple):
    """A package that was made of somebody else's archive."""

    folder: Path
    digest: str
    manifest: Manifest


class ArchiveType(Protocol):
    """What the adapters' ``archive`` table names, by the suffix of its files: it makes packages of archives."""

    def named(self, archive: Path) -> tuple[str, int]:
        """Name and version of its model, without unpacking it.

        Raises:
            Untrusted: It is no archive of this kind.
        """

    def make(self, archive: Path, store: Path) -> MadePackage:
        """A package in a folder of packages by digest; the same archive gives the same one, and nothing of it is run.

        Raises:
            Untrusted: It holds anything but plain files under plain names, is too big, or contradicts itself.
            BadConfig: It needs what is not here.
        """


def unpack(archive: Path, folder: Path, *, caps: Caps = DEFAULT_CAPS) -> Path:
    """Unpack an archive into a folder that does not exist yet.

    Returns:
        The folder.

    Raises:
        Untrusted: The archive holds anything but plain files under plain names, contradicts itself, or is too big.
        Conflict: The folder exists.
    """
    if folder.exists():
        raise Conflict("the folder is already there", "choose another, or remove it", code="packages.exists")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        with archive.open("rb") as file:
            _write_all(file, fresh, caps)
        fresh.rename(folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return folder


def require_plain(archive: Path, *, caps: Caps = DEFAULT_CAPS) -> None:
    """Refuse a zip that two readers would see otherwise; nothing of it is written anywhere.

    Raises:
        Untrusted: It contradicts itself, holds anything but plain members under plain names, or unpacks to too much.
    """
    seen: set[str] = set()
    allowed = min(caps.total_bytes, (1 << 20) + archive.stat().st_size * caps.ratio)
    with archive.open("rb") as file:
        for name, _, chunks in zip_members(file):
            if check_name(name).casefold() in seen:
                raise Untrusted("the archive holds a name twice", "make it anew", where=name)
            seen.add(name.casefold())
            for chunk in chunks:
                allowed -= len(chunk)
                if allowed < 0:
                    raise Untrusted("the archive unpacks to more than it may", "a model is smaller", where=name)


def pack(folder: Path, archive: Path) -> Path:
    """Write a package's folder as an uncompressed tar: names sorted, no times, no owners.

    Raises:
        Untrusted: The folder holds what no package may hold.
    """
    names = sorted(scan(folder))
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in names:
            data = (folder / name).read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))
    return archive


def _write_all(file: IO[bytes], fresh: Path, caps: Caps) -> None:
    """Every member into a fresh folder."""
    packed = os.fstat(file.fileno()).st_size
    allowed = min(caps.total_bytes, (1 << 20) + packed * caps.ratio)
    seen: set[str] = set()
    for count, (name, is_folder, chunks) in enumerate(_members(file), start=1):
        if count > caps.files:
            raise Untrusted(f"the archive holds more than {caps.files} files", "a package is smaller than that")
        check_name(name)
        if name.casefold() in seen:
            raise Untrusted("the archive holds a name twice", "make it anew", where=name)
        seen.add(name.casefold())
        place = fresh / name
        _make_folder(place if is_folder else place.parent)
        if not is_folder:
            allowed -= _write(place, chunks, allowed)


def _members(file: IO[bytes]) -> Iterator[tuple[str, bool, Iterator[bytes]]]:
    """Members of whichever kind of archive it is, told by its content."""
    start = file.read(512)
    file.seek(0)
    if start.startswith(ZIP):
        return zip_members(file)
    if start[257:262] == b"ustar":
        return tar_members(file)
    raise Untrusted("the file is neither a tar nor a zip", "give an archive that `penstock export` made")


def _make_folder(place: Path) -> None:
    """A folder and those above it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Untrusted("a member is a file and a folder", "make the archive anew", where=place.name) from error


def _write(place: Path, chunks: Iterator[bytes], allowed: int) -> int:
    """One file, which must not be there yet; how long it became."""
    written = 0
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise Untrusted("two members want the same place", "make the archive anew", where=place.name) from error
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            written += len(chunk)
            if written > allowed:
                raise Untrusted("the archive unpacks to more than it may", "a package is smaller", where=place.name)
            file.write(chunk)
    return written
