"""A model that is a folder becomes one file, so that what is examined is what is packaged."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from penstock.errors import InvalidInput, Untrusted
from penstock.packages.digests import CHUNK_BYTES
from penstock.packages.tree import open_file
from penstock.runtime.hubfolder import FILES, MAX_FILE_BYTES, PAGE_BYTES, is_read, is_weights, lacking

_HEADER_BYTES = 30
_FIELD = struct.Struct("<2H")
_NOTHING = 0xD935
"""The field's number, by which zipalign of Android does the same."""


def archive_folder(folder: Path, place: Path) -> None:
    """Put the files of a folder that are read into one archive; equal folders make equal archives.

    Raises:
        InvalidInput: It is no folder of a text network, or one of them is a link.
        Untrusted: One of them lies behind a link, or has a second name.
    """
    there = [name for name in FILES if (folder / name).is_file()]
    there += sorted(one.name for one in folder.iterdir() if one.name not in FILES and is_read(one.name))
    missing = lacking(there)
    if missing:
        raise InvalidInput(
            f"the folder lacks {missing}",
            "known are folders that transformers and sentence-transformers save, with their weights as safetensors",
            code="build.unknown_format",
        )
    with place.open("wb") as file, ZipFile(file, "w", ZIP_STORED) as archive:
        for name in there:
            if (folder / name).is_symlink():
                raise InvalidInput("a file of the folder is a link", "copy the folder with what it points to")
            with open_file(folder, name) as content, archive.open(_member(name, file.tell()), "w") as member:
                _require_small(content, name)
                shutil.copyfileobj(content, member, CHUNK_BYTES)


def _member(name: str, at: int) -> ZipInfo:
    """A member whose header is written here; weights begin at a page, behind a field that means nothing to anybody."""
    member = ZipInfo(name)
    if is_weights(name):
        free = -(at + _HEADER_BYTES + len(name.encode()) + _FIELD.size) % PAGE_BYTES
        member.extra = _FIELD.pack(_NOTHING, free) + bytes(free)
    return member


def _require_small(content: IO[bytes], name: str) -> None:
    """Refuse a file that no text network has."""
    if os.fstat(content.fileno()).st_size > MAX_FILE_BYTES:
        raise Untrusted(f"the file is longer than {MAX_FILE_BYTES} bytes", "it is not what it says it is", where=name)
