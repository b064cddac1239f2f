"""Header blocks: the look-up must never say anything but what decoding would."""

from __future__ import annotations

import hpack
from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.listeners.http2_heads import MOST, HeaderBlocks

PSEUDO = [(":method", "POST"), (":scheme", "http"), (":path", "/a/B")]
_extra = st.lists(
    st.tuples(st.sampled_from(["x-a", "x-b", "grpc-timeout", "x-long"]), st.sampled_from(["1", "22", "z" * 200, ""])),
    max_size=3,
    unique_by=lambda pair: pair[0],
)
_steps = st.lists(
    st.tuples(_extra, st.booleans(), st.booleans(), st.sampled_from([None, None, None, 0, 64, 200, 4096])), max_size=25
)


@given(_steps)
def test_a_look_up_says_what_decoding_says(steps: list[tuple[list[tuple[str, str]], bool, bool, int | None]]) -> None:
    encoder, blocks = hpack.Encoder(), HeaderBlocks(32 << 10)
    for extra, again, trailers, size in steps:
        if size is not None:
            encoder.header_table_size = size
        if trailers:
            assert blocks.skip(encoder.encode(extra))
            continue
        block = encoder.encode([*PSEUDO, *extra], huffman=again)
        for _ in range(2 if again else 1):
            head = blocks.read(block)
            assert {k.decode(): v.decode() for k, v in head.headers.items()} == dict(extra)
            assert (head.method, head.path, head.malformed) == (b"POST", b"/a/B", False)
            if _adds(block):
                break


def _adds(block: bytes) -> bool:
    """Whether sending the same bytes again would mean something else to a client: it adds to the table."""
    return any(byte & 0xC0 == 0x40 for byte in block)


def test_a_block_that_adds_nothing_is_found_again() -> None:
    encoder, blocks = hpack.Encoder(), HeaderBlocks(32 << 10)
    first, second = encoder.encode(PSEUDO), encoder.encode(PSEUDO)
    blocks.read(first)
    assert not blocks.known, "it added to the table: the same bytes mean the same, and change it again"
    head = blocks.read(second)
    assert blocks.read(second) is head
    blocks.read(encoder.encode([*PSEUDO, ("x-new", "1")]))
    assert blocks.read(second) is not head, "the table has moved"


def test_few_are_kept() -> None:
    encoder, blocks = hpack.Encoder(), HeaderBlocks(32 << 10)
    blocks.read(encoder.encode(PSEUDO))
    for number in range(100):
        # Sensitive fields are literals that no table remembers.
        blocks.read(encoder.encode([*PSEUDO, hpack.NeverIndexedHeaderTuple("authorization", str(number))]))
    assert len(blocks.known) <= MOST
