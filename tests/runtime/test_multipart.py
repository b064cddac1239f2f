"""Forms: what one reader sees every reader sees, or nobody does."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.runtime.multipart import MOST_HEADER_BYTES, MOST_PARTS, FormPart, read_form

TYPE = "multipart/form-data; boundary=XX"
NAME = 'Content-Disposition: form-data; name="data"'


def form(*parts: tuple[str, bytes], boundary: str = "XX") -> bytes:
    said = (b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), body) for head, body in parts)
    return b"".join(said) + b"--%b--\r\n" % boundary.encode()


def test_reads_parts_in_order() -> None:
    body = form(
        (NAME + '; filename="a \\"b\\".png"\r\nContent-Type: image/png', b"\x89PNG\r\n\x1a\n"),
        ('content-disposition: FORM-DATA; name=other', b""),
    )  # fmt: skip
    assert read_form(body, TYPE) == (
        FormPart("data", "image/png", 'a "b".png', b"\x89PNG\r\n\x1a\n"),
        FormPart("other", "", "", b""),
    )


@pytest.mark.parametrize(
    "content_type",
    [TYPE, 'Multipart/Form-Data;boundary="XX"', "multipart/form-data; charset=utf-8; boundary=XX"],
)
def test_reads_boundaries(content_type: str) -> None:
    assert read_form(form((NAME, b"x")), content_type)[0].body == b"x"


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_gives_back_any_bytes_and_agrees_with_the_standard_library(bodies: list[bytes]) -> None:
    boundary = "-" * 20 + "b0undary"
    if any(boundary.encode() in body for body in bodies):
        return
    heads = [f'Content-Disposition: form-data; name="f{at}"' for at in range(len(bodies))]
    written = form(*zip(heads, bodies, strict=True), boundary=boundary)
    content_type = f"multipart/form-data; boundary={boundary}"
    read = read_form(written, content_type)
    assert [part.body for part in read] == bodies
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    known = email.message_from_bytes(head + written, policy=email.policy.HTTP)
    assert len(list(known.iter_parts())) == len(bodies)


REFUSED = {
    "nothing": (b"", TYPE),
    "no boundary": (form((NAME, b"x")), "multipart/form-data"),
    "two boundaries": (form((NAME, b"x")), TYPE + "; boundary=YY"),
    "a boundary too long": (form((NAME, b"x"), boundary="X" * 71), f"multipart/form-data; boundary={'X' * 71}"),
    "another type": (form((NAME, b"x")), "multipart/mixed; boundary=XX"),
    "another boundary": (form((NAME, b"x"), boundary="YY"), TYPE),
    "a preamble": (b"hello\r\n" + form((NAME, b"x")), TYPE),
    "an epilogue": (form((NAME, b"x")) + b"more", TYPE),
    "no end": (form((NAME, b"x"))[:-6], TYPE),
    "an end and no parts": (b"--XX--\r\n", TYPE),
    "line feeds alone": (form((NAME, b"x")).replace(b"\r\n", b"\n"), TYPE),
    "a part right behind a boundary": (form((NAME, b"x")).replace(b"--XX\r\n", b"--XXab"), TYPE),
    "a longer boundary inside": (form((NAME, b"a\r\n--XXX\r\nb")), TYPE),
    "blanks behind a boundary": (form((NAME, b"x")).replace(b"--XX\r\n", b"--XX \r\n"), TYPE),
    "headers without an end": (b"--XX\r\n" + NAME.encode() + b"\r\n--XX--\r\n", TYPE),
    "no headers": (b"--XX\r\n\r\nx\r\n--XX--\r\n", TYPE),
    "a folded header": (form((NAME + ";\r\n filename=x", b"x")), TYPE),
    "a header twice": (form((NAME + "\r\n" + NAME, b"x")), TYPE),
    "a header without a name": (form((NAME + "\r\n: x", b"x")), TYPE),
    "a blank before the colon": (form((NAME + "\r\nX : x", b"x")), TYPE),
    "a header too long": (form((NAME + "\r\nX: " + "x" * MOST_HEADER_BYTES, b"x")), TYPE),
    "no name": (form(("Content-Disposition: form-data", b"x")), TYPE),
    "an empty name": (form(('Content-Disposition: form-data; name=""', b"x")), TYPE),
    "a name twice in one part": (form((NAME + '; name="x"', b"x")), TYPE),
    "a name in two parts": (form((NAME, b"x"), (NAME, b"y")), TYPE),
    "an attachment": (form(('Content-Disposition: attachment; name="x"', b"x")), TYPE),
    "an open quote": (form(('Content-Disposition: form-data; name="x', b"x")), TYPE),
    "parts within a part": (form((NAME + "\r\nContent-Type: multipart/mixed; boundary=Z", b"x")), TYPE),
    "base64": (form((NAME + "\r\nContent-Transfer-Encoding: base64", b"eA==")), TYPE),
    "no UTF-8": (b'--XX\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--XX--\r\n', TYPE),
    "too many": (form(*((f"Content-Disposition: form-data; name=f{at}", b"") for at in range(MOST_PARTS + 1))), TYPE),
    "far too many": (b"--XX\r\n" * 100_000, TYPE),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refuses(what: str) -> None:
    body, content_type = REFUSED[what]
    with pytest.raises(InvalidInput):
        read_form(body, content_type)


def test_takes_as_many_as_it_says() -> None:
    parts = [(f"Content-Disposition: form-data; name=f{at}", b"x") for at in range(MOST_PARTS)]
    assert len(read_form(form(*parts), TYPE)) == MOST_PARTS


@given(st.binary(max_size=300))
def test_never_breaks(body: bytes) -> None:
    for framed in (body, b"--XX\r\n" + body, b"--XX\r\n" + NAME.encode() + b"\r\n\r\n" + body + b"\r\n--XX--"):
        try:
            read_form(framed, TYPE)
        except InvalidInput:
            continue
