"""A model that is a folder becomes one file, so that what is examined is what is packaged."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from penstock.errors import InvalidInput
from penstock.packages.tree import read_bytes
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
            archive.writestr(ZipInfo(name), read_bytes(folder, name, limit=MAX_FILE_BYTES))
