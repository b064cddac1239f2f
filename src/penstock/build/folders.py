"""A model that is a folder becomes one file, so that what is examined is what is packaged."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from penstock.errors import InvalidInput, Untrusted
from penstock.packages.digests import CHUNK_BYTES
from penstock.packages.tree import open_file
from penstock.runtime.encoder import FILES, MAX_FILE_BYTES


def archive_folder(folder: Path, place: Path) -> None:
    """Put the files of a folder that are read into one archive; equal folders make equal archives.

    Raises:
        InvalidInput: It is no folder of an encoder, or one of them is a link.
        Untrusted: One of them lies behind a link, or has a second name.
    """
    there = [name for name in FILES if (folder / name).is_file()]
    lacking = [name for name in FILES[:-1] if name not in there]
    if lacking:
        raise InvalidInput(
            f"the folder lacks {lacking[0]}",
            "folders of sentence encoders are known: those that sentence-transformers saves",
            code="build.unknown_format",
        )
    with ZipFile(place, "w", ZIP_STORED) as archive:
        for name in there:
            if (folder / name).is_symlink():
                raise InvalidInput("a file of the folder is a link", "copy the folder with what it points to")
            with open_file(folder, name) as content, archive.open(ZipInfo(name), "w") as member:
                _require_small(content, name)
                shutil.copyfileobj(content, member, CHUNK_BYTES)


def _require_small(content: IO[bytes], name: str) -> None:
    """Refuse a file that no encoder has."""
    if os.fstat(content.fileno()).st_size > MAX_FILE_BYTES:
        raise Untrusted(f"the file is longer than {MAX_FILE_BYTES} bytes", "it is not what it says it is", where=name)
