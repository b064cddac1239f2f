"""Long work on large files, told in bytes as it goes on: copies and digests, never the whole file in memory.

What comes in: paths, what is being done in words, and who is told. What goes out: "copying the model, 128 of 500 MB".
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from penstock.build.request import Progress

STRIDE_BYTES = 64 << 20
"""Smaller files are done before anybody has read that they are begun."""
_CHUNK_BYTES = 1 << 20


def copied(source: Path, target: Path, what: str, progress: Progress) -> None:
    """Copy a file; where the file system can share its blocks, it does."""
    with source.open("rb") as reader, target.open("xb") as writer:
        copied_open(reader, writer, what, progress)


def copied_open(reader: IO[bytes], writer: IO[bytes], what: str, progress: Progress) -> None:
    """Copy what an open file holds into one that was just made."""
    size = os.fstat(reader.fileno()).st_size
    shared = True
    for done in _strides(size, what, progress):
        left = min(STRIDE_BYTES, size - done)
        if shared:
            try:
                _shared(reader, writer, left)
                continue
            except OSError:  # not between these two file systems
                shared = False
                reader.seek(done)
                writer.seek(done)
        while left and (chunk := reader.read(min(left, _CHUNK_BYTES))):
            left -= writer.write(chunk)


def digested(path: Path, what: str, progress: Progress) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as reader:
        for _ in _strides(os.fstat(reader.fileno()).st_size, what, progress):
            left = STRIDE_BYTES
            while left and (chunk := reader.read(min(left, _CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
    return digest.hexdigest()


def megabytes(size: int) -> str:
    """``500 MB``; of less than ten, ``0.3 MB``, ``3 kB`` or ``600 bytes``."""
    if size >= 10_000_000:
        return f"{size / 1e6:,.0f} MB"
    if size >= 100_000:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e3:.0f} kB" if size >= 1000 else f"{size} bytes"


def _strides(size: int, what: str, progress: Progress) -> Iterator[int]:
    """Where each stride begins; of a file of more than one, each is told."""
    for done in range(0, size, STRIDE_BYTES):
        if size > STRIDE_BYTES:
            progress(f"{what}, {done / 1e6:,.0f} of {megabytes(size)}")
        yield done


def _shared(reader: IO[bytes], writer: IO[bytes], count: int) -> None:
    while count:
        moved = os.copy_file_range(reader.fileno(), writer.fileno(), count)
        if not moved:
            raise OSError("the file became shorter")
        count -= moved
