"""Read a tar's members strictly: POSIX ustar headers, regular files and folders, nothing else.

Headers are parsed here, block by block, so that no second opinion exists on what a name, a size or a type is.
Extended headers are taken only where all they say is a time or an owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from penstock.errors import Untrusted

BLOCK = 512
CHUNK_BYTES = 1 << 20
MAX_EXTENDED_BYTES = 4096
_HARMLESS = re.compile(rb"(\d+ (mtime|atime|ctime|uname|gname|uid|gid)=[^\n]*\n)*")

Member = tuple[str, bool, Iterator[bytes]]


class _Header(NamedTuple):
    """What one block says."""

    name: str
    size: int
    kind: bytes


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """Name, whether it is a folder, and content of each member; content must be read before the next is asked for.

    Raises:
        Untrusted: A header is damaged, or a member is a link, a device, or described by an extension.
    """
    while True:
        block = file.read(BLOCK)
        if block == bytes(BLOCK):
            _require_end(file)
            return
        header = _parsed(block)
        if header.kind == b"x" and header.size <= MAX_EXTENDED_BYTES:
            if _HARMLESS.fullmatch(b"".join(_content(file, header.size))) is None:
                raise Untrusted("the archive renames or resizes a member", "write it in plain ustar form")
            continue
        if header.kind == b"5" and header.size == 0:
            yield header.name.rstrip("/"), True, iter(())
        elif header.kind in (b"0", b"\0"):
            content = _content(file, header.size)
            yield header.name, False, content
            for _ in content:  # whatever the caller did not want
                pass
        else:
            raise Untrusted("the archive holds a link, a device or another special member", "pack plain files only")


def _parsed(block: bytes) -> _Header:
    """A header block whose checksum is right."""
    if len(block) != BLOCK or block[257:262] != b"ustar":
        raise Untrusted("the archive is cut off or damaged", "fetch it again")
    summed = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if _octal(block[148:156]) != summed:
        raise Untrusted("a header of the archive is damaged", "fetch it again")
    prefix, name = _text(block[345:500]), _text(block[:100])
    # GNU's own form ("ustar  ") keeps times where POSIX has a prefix.
    full = f"{prefix}/{name}" if prefix and block[257:263] == b"ustar\0" else name
    return _Header(full.removeprefix("./"), _octal(block[124:136]), block[156:157])


def _content(file: IO[bytes], size: int) -> Iterator[bytes]:
    """A member's bytes, then its padding."""
    left = size
    while left:
        chunk = file.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise Untrusted("the archive is cut off", "fetch it again")
        left -= len(chunk)
        yield chunk
    file.read(-size % BLOCK)


def _require_end(file: IO[bytes]) -> None:
    """Nothing but zeros follows the end."""
    while chunk := file.read(CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise Untrusted("the archive goes on after its end", "make it anew")


def _octal(field: bytes) -> int:
    """An octal number; base-256 is not taken."""
    digits = field.strip(b" \0")
    if re.fullmatch(rb"[0-7]*", digits) is None:
        raise Untrusted("a header of the archive holds no number where one belongs", "write it in plain ustar form")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    """A name, up to its first zero; nothing may hide behind that."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise Untrusted("a name in the archive hides another", "make it anew")
    return text.decode("ascii", "backslashreplace")
