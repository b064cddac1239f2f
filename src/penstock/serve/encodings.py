"""Stage 4, serve: compressed request bodies, never larger than the limit once unpacked."""

from __future__ import annotations

import zlib

from penstock.errors import InvalidInput

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_PIECE = 1 << 20
_TRUSTED_BYTES = 4 << 20
_RATIO = 64
"""What unpacks to more than `_TRUSTED_BYTES` and to this many times itself is a bomb: rows of numbers shrink to a
tenth, and unpacking to the limit just to refuse it would cost everybody else their turn."""


def decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its content encoding.

    Args:
        body: As sent.
        encoding: ``gzip``, ``deflate`` or ``identity``.
        limit: Most bytes to unpack; what is larger is stopped there, a bomb long before.

    Raises:
        InvalidInput: Another encoding, damaged or trailing data, or too large.
    """
    name = encoding.strip().lower()
    if name == b"identity":
        return body
    if name not in _WINDOWS:
        raise InvalidInput(
            "this content encoding is not spoken", "send gzip, deflate or none", where="headers.content-encoding"
        )
    stream = zlib.decompressobj(_WINDOWS[name])
    pieces: list[bytes] = []
    size, rest = 0, body
    try:
        # Piece by piece: what is refused is never held twice.
        while piece := stream.decompress(rest, _PIECE):
            pieces.append(piece)
            size += len(piece)
            rest = stream.unconsumed_tail
            if size > limit or (size > _TRUSTED_BYTES and size > _RATIO * len(body)):
                raise _too_large(limit)
    except zlib.error:
        raise InvalidInput("the body is not what its content encoding says", "send it whole", where="body") from None
    if not stream.eof or stream.unused_data:
        raise InvalidInput("the compressed body is cut off or followed by more", "send it whole", where="body")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        f"the body is larger than {limit} bytes once unpacked, or a bomb",
        "send fewer rows",
        code="serve.too_large",
        where="body",
    )
