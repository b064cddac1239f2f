"""Form parts of a ``multipart/form-data`` body, read strictly: what one reader sees, every reader sees.

Content-Type + body -> boundary -> parts side by side, nothing before, between or behind them -> FormPart by FormPart

Both sides of the sandbox read forms with it, so it needs the standard library only. A part has one name and no two
parts have the same; nesting and transfer encodings, which RFC 7578 took out of use, are refused. Sources: RFC 7578,
RFC 2046 section 5.1.1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from penstock.errors import InvalidInput

FORM = "multipart/form-data"
MOST_PARTS = 64
MOST_HEADER_BYTES = 4096
_BOUNDARY = re.compile(r"""boundary=(?:"([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])"|([^\s";,]{1,70}))""")
_PARAMETER = re.compile(r'\s*;\s*([A-Za-z*-]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s";,]+))')
_HEADER = re.compile(rb"([!#-'*+.0-9A-Z^-z|~-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_PLAIN = frozenset({"", "7bit", "8bit", "binary"})


class FormPart(NamedTuple):
    """One field of a form.

    Attributes:
        media_type: As the client wrote it; empty where it did not.
        filename: Empty for a plain field; never a place to read or write.
    """

    name: str
    media_type: str
    filename: str
    body: bytes


def read_form(body: bytes, content_type: str) -> tuple[FormPart, ...]:
    """All parts, in order.

    Args:
        body: Of the request.
        content_type: The header's value, with the boundary.

    Raises:
        InvalidInput: The body is no form, or one that readers could read in two ways.
    """
    delimiter = b"--" + _boundary(content_type)
    # In front of the first delimiter stands nothing, not even the line end that belongs to the others.
    pieces = (b"\r\n" + body).split(b"\r\n" + delimiter, MOST_PARTS + 2)
    if len(pieces) > MOST_PARTS + 2:
        raise _bad(f"the form has more than {MOST_PARTS} parts")
    if pieces[0] or pieces[-1] not in (b"--", b"--\r\n"):
        raise _bad("the form does not begin and end with its boundary")
    parts = tuple(_part(piece) for piece in pieces[1:-1])
    if not parts:
        raise _bad("the form has no parts")
    if len({part.name for part in parts}) != len(parts):
        raise _bad("the form has two parts of one name")
    return parts


def _boundary(content_type: str) -> bytes:
    kind, _, parameters = content_type.partition(";")
    found = _BOUNDARY.findall(parameters)
    if kind.strip().lower() != FORM or len(found) != 1:
        raise InvalidInput("the form's boundary is missing", "send it in the header", where="headers.content-type")
    return str(found[0][0] or found[0][1]).encode("latin-1", "replace")


def _part(piece: bytes) -> FormPart:
    """What stands between two delimiters."""
    if not piece.startswith(b"\r\n"):
        raise _bad("the boundary stands inside a part")
    head, gap, body = piece.partition(b"\r\n\r\n")
    if not gap or len(head) > MOST_HEADER_BYTES:
        raise _bad("a part's headers do not end, or are too long")
    headers: dict[str, str] = {}
    for line in head[2:].split(b"\r\n"):
        found = _HEADER.fullmatch(line)
        name = found[1].decode("ascii").lower() if found else ""
        if found is None or name in headers:
            raise _bad("a part has a header twice, or one that is none")
        headers[name] = _text(found[2])
    if headers.get("content-transfer-encoding", "").lower() not in _PLAIN:
        raise _bad("a part is encoded")
    media_type = headers.get("content-type", "")
    if media_type.lower().startswith("multipart/"):
        raise _bad("a part holds parts of its own")
    parameters = _parameters(headers.get("content-disposition", ""))
    return FormPart(parameters["name"], media_type, parameters.get("filename", ""), body)


def _parameters(disposition: str) -> dict[str, str]:
    """Of a ``form-data`` disposition that has a name."""
    kind = re.match(r"form-data(?=\s*;|\s*$)", disposition, re.IGNORECASE)
    parameters: dict[str, str] = {}
    at = kind.end() if kind else 0
    while kind and at < len(disposition):
        found = _PARAMETER.match(disposition, at)
        if found is None or found[1].lower() in parameters:
            raise _bad("a part's disposition cannot be read")
        value = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        parameters[found[1].lower()] = value
        at = found.end()
    if not parameters.get("name"):
        raise _bad("a part has no name")
    return parameters


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _bad("a part's header is not UTF-8") from None


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, "send a multipart/form-data body", code="input.malformed", where="body")
