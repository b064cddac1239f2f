"""Tell a pickle by its bytes, plain or inside a compressed stream; nothing is unpickled to find out."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib

_PLAIN = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
# Protocols 0 and 1 have no header; a pickled object of theirs begins with a global's two lines.
_OLD = re.compile(rb"\(?i?c[A-Za-z_][A-Za-z0-9_.]*\n[A-Za-z_][A-Za-z0-9_.]*\n")


def is_pickle(start: bytes) -> bool:
    """Whether a file that starts so is a pickle: joblib writes them plain, zlib, gzip, bz2, xz or lzma."""
    return _plain(start) or any(_plain(one) for one in _opened(start))


def _plain(start: bytes) -> bool:
    """A pickle's first bytes."""
    return start.startswith(_PLAIN) or _OLD.match(start) is not None


def _opened(start: bytes) -> list[bytes]:
    """What the usual decompressors make of a file's start."""
    found: list[bytes] = []
    for decompress in (
        zlib.decompressobj(zlib.MAX_WBITS | 32).decompress,
        bz2.BZ2Decompressor().decompress,
        lzma.LZMADecompressor().decompress,
    ):
        try:
            found.append(decompress(start, 64))
        except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
            continue
    return found
