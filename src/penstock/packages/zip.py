"""Read a zip's members strictly: the two lists of names that every zip has must say the same.

The directory at the end and the header in front of each member are compared field by field, members lie side by
side without gaps, and nothing stands before, between or behind them: what one reader sees, every reader sees.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from penstock.errors import Untrusted

CHUNK_BYTES = 1 << 20
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_LOCAL = struct.Struct("<4s5H3L2H")
_END = struct.Struct("<4s4H2LH")
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, struct.error, UnicodeError,
)  # fmt: skip
_STREAMED = 0x08
_UTF8 = 0x800

Member = tuple[str, bool, Iterator[bytes]]


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """Name, whether it is a folder, and content of each member.

    Raises:
        Untrusted: The zip contradicts itself, is encrypted, or holds a link or another special member.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _require_no_gaps(file, archive)
            for member in archive.infolist():
                _require_plain(member)
                yield member.filename.rstrip("/"), member.is_dir(), _content(archive, member)
    except _DAMAGED as error:
        raise Untrusted("the archive is damaged or of an unusual kind", "make it anew") from error


def place_of(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin in the zip's file; 0 where they are not stored as they are.

    Raises:
        BadZipFile: The member is not there.
    """
    file.seek(member.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise zipfile.BadZipFile("a member is beyond the end")
    name, extra = _LOCAL.unpack(header)[-2:]
    plain = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
    return member.header_offset + _LOCAL.size + int(name) + int(extra) if plain else 0


def _require_plain(member: zipfile.ZipInfo) -> None:
    """A regular file or a folder, stored or deflated, in the clear."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    plain = kind in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG)
    flags = member.flag_bits & ~(_STREAMED | _UTF8 | 0x06)
    odd = flags or member.filename != member.orig_filename
    if not plain or odd or member.compress_type not in METHODS or (member.is_dir() and member.file_size):
        raise Untrusted("the archive holds a link, an encrypted or another special member", "pack plain files only")


def _require_no_gaps(file: IO[bytes], archive: zipfile.ZipFile) -> None:
    """Members fill the file from its start to the directory, and each header says what the directory says."""
    expected = 0
    for member in sorted(archive.infolist(), key=lambda one: one.header_offset):
        file.seek(member.header_offset)
        magic, _, flags, method, _, _, crc, packed, size, names, extra = _LOCAL.unpack(file.read(_LOCAL.size))
        name = file.read(names)
        streamed = bool(flags & _STREAMED)
        said = (crc, packed, size) == (member.CRC, member.compress_size, member.file_size)
        same = magic == b"PK\x03\x04" and name == member.orig_filename.encode("utf-8", "surrogateescape")
        if not same or member.header_offset != expected or method != member.compress_type:
            raise Untrusted("the archive's two lists of names differ", "make it anew")
        if not (said or streamed) or flags != member.flag_bits:
            raise Untrusted("the archive's two lists of sizes differ", "make it anew")
        end = member.header_offset + _LOCAL.size + names + extra + member.compress_size
        expected = end + (_descriptor(file, end) if streamed else 0)
    # Python finds the end wherever it stands; without a comment it is the very last thing.
    file.seek(-_END.size, os.SEEK_END)
    magic, disk, first, here, listed, *_ = _END.unpack(file.read(_END.size))
    counted = (disk, first, here, listed) == (0, 0, len(archive.infolist()), len(archive.infolist()))
    if expected != archive.start_dir or archive.comment or magic != b"PK\x05\x06" or not counted:
        raise Untrusted("the archive holds more than it lists", "make it anew")


def _descriptor(file: IO[bytes], at: int) -> int:
    """How long the note behind a streamed member is."""
    file.seek(at)
    return 16 if file.read(4) == b"PK\x07\x08" else 12


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's bytes; the checksum is compared at their end."""
    try:
        with archive.open(member) as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except _DAMAGED as error:
        raise Untrusted("a member of the archive is damaged", "fetch it again", where=member.filename) from error
