"""Bodies as text and back: no byte is lost, and no media type becomes more than one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.runtime.bodies import from_text, to_text

TYPES = [
    "text/plain",
    "application/json",
    "image/png",
    'multipart/form-data; boundary="a,b"',
    "image/png;base64",
    "x/y",
]


@given(st.binary(max_size=200), st.sampled_from(TYPES))
def test_every_body_comes_back(body: bytes, media_type: str) -> None:
    assert from_text(to_text(media_type, body)) == (media_type, body)


@given(st.text(max_size=100))
def test_text_stays_text(text: str) -> None:
    written = to_text("text/plain", text.encode("utf-8", "replace"))
    assert written.startswith("data:") or written == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("media_type", ["", "png", "a/b\r\nx: y", "a b/c", "/", "a/"])
def test_what_is_no_media_type_counts_as_octets(media_type: str) -> None:
    assert from_text(to_text(media_type, b"x")) == ("application/octet-stream", b"x")


@pytest.mark.parametrize(
    "text",
    ["data:", "data:x", "data:a/b;base64,*", "data:a/b;base64,eA=", "data:a%0D%0Ax: y/b,z", "data:a/b%0D%0Ax: y,z"],
)
def test_refuses_what_only_begins_as_a_data_url(text: str) -> None:
    with pytest.raises(InvalidInput):
        from_text(text)
