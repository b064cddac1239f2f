"""PyTorch's zips, read strictly: one folder of members with plain names, every byte accounted for, nothing loaded.

What comes in: the file of an exported program, of TorchScript, or of tensors. What goes out: sizes by name, without the
folder that all names begin with, and the bytes of those members that say what is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import BadZipFile, ZipFile

from penstock.errors import Untrusted
from penstock.packages.zip import Member, read_members

MAX_MEMBERS = 200_000
MAX_KEPT_BYTES = 256 << 20
MAX_DEPTH = 24
_SEGMENT = re.compile(r"[A-Za-z0-9_.$+-]{1,200}")
_FREE_BYTES = 16 << 20
_RATIO = 200
_LISTED = 100_000


class TorchArchive(NamedTuple):
    """What a zip of PyTorch's holds.

    Attributes:
        sizes: Bytes by name.
        contents: Of the members that were kept.
    """

    sizes: dict[str, int]
    contents: dict[str, bytes]


def listed(path: Path) -> frozenset[str]:
    """Names in a zip without their common folder, as its directory has them; none of what is no zip."""
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()[:_LISTED]
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return frozenset()
    return frozenset(_without(_root(names), name) for name in names)


def read_archive(file: IO[bytes], packed: int, keep: Callable[[str], bool]) -> TorchArchive:
    """Read a zip to its end.

    Args:
        file: It, from its start.
        packed: How long it is.
        keep: Whether a member's bytes are wanted, by its name without the folder.

    Raises:
        Untrusted: It contradicts itself, unpacks to more than it may, or has members that no such file has.
    """
    members: dict[str, int] = {}
    contents: dict[str, bytes] = {}
    folded: set[str] = set()
    roots: set[str] = set()
    left = _FREE_BYTES + packed * _RATIO
    for name, is_folder, chunks in _strictly(file):
        _check_name(name)
        if is_folder or name.casefold() in folded or len(members) >= MAX_MEMBERS:
            raise odd("has a folder, a name twice, or too many members", name)
        folded.add(name.casefold())
        root, _, rest = name.partition("/")
        roots.add(root if rest else "")
        inner = rest or name
        size, data = _taken(chunks, left, keep(inner), name)
        left -= size
        members[name] = size
        if data is not None:
            contents[name] = data
    root = next(iter(roots)) if len(roots) == 1 else ""
    return TorchArchive(
        {_without(root, name): size for name, size in members.items()},
        {_without(root, name): data for name, data in contents.items()},
    )


def _strictly(file: IO[bytes]) -> Iterator[Member]:
    """The members, with the refusal in this file's words."""
    try:
        yield from read_members(file)
    except Untrusted as error:
        raise odd(f"has a zip that is no plain one ({error.message})", error.where) from error


def odd(what: str, where: str = "") -> Untrusted:
    """What PyTorch's own files never do."""
    return Untrusted(
        f"the file {what}, as none of PyTorch's own does",
        "save it again with torch.export.save, torch.jit.save or safetensors",
        where=where[:120],
        code="build.odd_torch",
    )


def _taken(chunks: Iterator[bytes], left: int, kept: bool, name: str) -> tuple[int, bytes | None]:
    """How long a member is, and its bytes where they are wanted."""
    size = 0
    parts: list[bytes] = []
    for chunk in chunks:
        size += len(chunk)
        if size > left or (kept and size > MAX_KEPT_BYTES):
            raise odd("unpacks to more than it may", name)
        if kept:
            parts.append(chunk)
    return size, b"".join(parts) if kept else None


def _check_name(name: str) -> None:
    segments = name.split("/")
    plain = all(_SEGMENT.fullmatch(one) and one.strip(".") for one in segments)
    if not plain or len(segments) > MAX_DEPTH:
        raise odd("has a member whose name is no plain path", ascii(name)[1:-1])


def _root(names: list[str]) -> str:
    """The folder that all names begin with; empty where there is none."""
    roots = {name.partition("/")[0] if "/" in name else "" for name in names}
    return next(iter(roots)) if len(roots) == 1 else ""


def _without(root: str, name: str) -> str:
    return name.removeprefix(f"{root}/") if root else name
