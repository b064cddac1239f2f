"""Bodies of any media type as text, for models whose one input is a whole request body (a handler of an archive).

    media type + bytes --to_text--> text --from_text--> media type + bytes

Tensors of text are UTF-8, and a body may be anything. Plain text stays as it is, so that clients of every dialect can
write one; whatever else becomes a data URL, which says its media type: percent-encoded where the bytes are UTF-8, else
base64. Both sides of the sandbox read them, so it needs the standard library only. Source: RFC 2397.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import quote, unquote, unquote_to_bytes

from penstock.errors import InvalidInput

PLAIN = "text/plain"
OCTETS = "application/octet-stream"
JSON_TYPE = "application/json"
_SCHEME = "data:"
_BASE64 = ";base64"
_LEGIBLE = " !\"$&'()*+,-./:;<=>?@[\\]^_`{|}~#"
_IN_TYPE = "/;=+.-_ \"'"
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:[ \t]*;[ -~]*)?")


def to_text(media_type: str, body: bytes) -> str:
    """A body as text; `from_text` gives the same bytes back.

    Args:
        media_type: With its parameters; empty, or what is none, counts as octets.
        body: Any bytes.
    """
    media_type = media_type.strip() if _MEDIA_TYPE.fullmatch(media_type.strip()) else OCTETS
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"{_SCHEME}{_typed(media_type)}{_BASE64},{base64.b64encode(body).decode()}"
    if main_type(media_type) == PLAIN and not text.startswith(_SCHEME):
        return text
    return f"{_SCHEME}{_typed(media_type)},{quote(text, safe=_LEGIBLE)}"


def from_text(text: str) -> tuple[str, bytes]:
    """Media type and bytes.

    Raises:
        InvalidInput: It begins as a data URL and is none.
    """
    if not text.startswith(_SCHEME):
        return PLAIN, text.encode()
    head, comma, data = text.removeprefix(_SCHEME).partition(",")
    coded = head.endswith(_BASE64)
    media_type = unquote(head.removesuffix(_BASE64)) or PLAIN
    if not comma or not _MEDIA_TYPE.fullmatch(media_type):
        raise _no_url()
    if not coded:
        return media_type, unquote_to_bytes(data)
    try:
        return media_type, base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise _no_url() from None


def main_type(media_type: str) -> str:
    """Without its parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def _typed(media_type: str) -> str:
    """A media type that no comma and no word of the URL's own stands in."""
    return quote(media_type, safe=_IN_TYPE).replace(_BASE64, "%3Bbase64")


def _no_url() -> InvalidInput:
    return InvalidInput("the text begins as a data URL and is none", "send data:TYPE;base64,DATA", where="body")
