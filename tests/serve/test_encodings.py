from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.serve.encodings import decompressed


@given(st.binary(max_size=500))
def test_what_was_packed_is_unpacked(data: bytes) -> None:
    assert decompressed(gzip.compress(data), b"gzip", 500) == data
    assert decompressed(zlib.compress(data), b" Deflate ", 500) == data
    assert decompressed(data, b"identity", 500) == data


@given(st.binary(max_size=100))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        decompressed(data, b"gzip", 500)


def test_the_limit_holds_exactly() -> None:
    assert len(decompressed(gzip.compress(bytes(500)), b"gzip", 500)) == 500
    with pytest.raises(InvalidInput) as caught:
        decompressed(gzip.compress(bytes(501)), b"gzip", 500)
    assert caught.value.code == "serve.too_large"
    with pytest.raises(InvalidInput):
        decompressed(gzip.compress(b"a") + b"more", b"gzip", 500)


def test_a_bomb_is_refused_long_before_the_limit() -> None:
    limit = 1 << 30
    with pytest.raises(InvalidInput) as caught:
        decompressed(gzip.compress(bytes(64 << 20)), b"gzip", limit)
    assert caught.value.code == "serve.too_large"
    rows = b"".join(b"[%d.0,%d.5]," % (n, n % 7) for n in range(1_000_000))
    assert decompressed(gzip.compress(rows), b"gzip", limit) == rows
