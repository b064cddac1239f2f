"""What is written is read back the same, in bytes that equal records share, and newer fields do not hurt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import Corrupt
from penstock.records import Finding, Outcome, Release, Variant, decode, encode

TEXT = st.text(max_size=20)
VARIANTS = st.builds(
    Variant,
    name=TEXT,
    model=TEXT,
    version=st.integers(1, 10**6),
    digest=TEXT,
    share=st.floats(0, 1),
    shadow=st.booleans(),
)
RELEASES = st.builds(
    Release,
    endpoint=TEXT,
    revision=st.integers(1, 10**6),
    variants=st.lists(VARIANTS, max_size=3).map(tuple),
    thresholds=st.dictionaries(TEXT, st.floats(0, 1), max_size=3),
    reason=TEXT,
)


@given(RELEASES)
def test_a_record_survives_the_disk(release: Release) -> None:
    assert decode(encode(release), Release) == release
    assert encode(decode(encode(release), Release)) == encode(release)


@given(st.dictionaries(TEXT, st.integers(), min_size=2, max_size=5))
def test_order_does_not_change_the_bytes(measured: dict[str, int]) -> None:
    turned = dict(reversed(measured.items()))
    one = Finding(check="c", title="t", outcome="pass", message="m", measured=measured)
    other = Finding(check="c", title="t", outcome="pass", message="m", measured=turned)
    assert encode(one) == encode(other)


def test_a_newer_writers_field_is_passed_over() -> None:
    assert decode(b'{"prediction": "a.0", "value": 1, "at": 2.0, "mood": "new"}', Outcome).value == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"prediction": "secret"}', b"\xff\xfe"])
def test_what_is_no_record_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt) as fault:
        decode(data, Outcome)
    assert "secret" not in str(fault.value)


def test_records_do_not_change() -> None:
    variant = Variant(name="stable", model="m", version=1, digest="d")
    with pytest.raises(AttributeError):
        variant.share = 0.5
    assert variant.ref == "m@1"
