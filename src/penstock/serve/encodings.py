"""Stage 4, serve: compressed request bodies, never larger than the limit once unpacked."""

from __future__ import annotations

import zlib

from penstock.errors import InvalidInput

_WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


def decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its content encoding.

    Args:
        body: As sent.
        encoding: ``gzip``, ``deflate`` or ``identity``.
        limit: Most bytes to unpack; a bomb is stopped there.

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
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput("the body is not what its content encoding says", "send it whole", where="body") from None
    if len(data) > limit:
        raise InvalidInput(
            f"the body is larger than {limit} bytes once unpacked",
            "send fewer rows",
            code="serve.too_large",
            where="body",
        )
    if not stream.eof or stream.unused_data:
        raise InvalidInput("the compressed body is cut off or followed by more", "send it whole", where="body")
    return data
