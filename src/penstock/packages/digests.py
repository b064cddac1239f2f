"""SHA-256 of bytes and files: how everything in a package is named and checked.

What comes in: bytes, or a path to a regular file. What goes out: lower-case hex, or ``sha256:<hex>`` where
the digest is a name that travels.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from penstock.errors import Untrusted

PREFIX = "sha256:"
CHUNK_BYTES = 1 << 20
_NAMED = re.compile(r"sha256:[0-9a-f]{64}")


def sha256_bytes(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes, read in chunks.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named(hexdigest: str) -> str:
    """``sha256:<hex>``."""
    return PREFIX + hexdigest


def hex_of(digest: str) -> str:
    """The hex part of ``sha256:<hex>``: a package's folder name.

    Raises:
        Untrusted: It is not such a digest, so it must never become part of a path.
    """
    if _NAMED.fullmatch(digest) is None:
        raise Untrusted("a digest has not the form sha256:<64 hex digits>", "copy it whole, as `penstock status` says")
    return digest.removeprefix(PREFIX)
