"""A whole HTML document that somebody else rendered (the gate's report), made harmless to show.

What comes in: its bytes. What goes out: a response in a sandbox of its own: no script, no form, no request, no
access to the console around it; its own inline style is all it may use.
"""

from __future__ import annotations

from starlette.responses import Response

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"


def document(data: bytes) -> Response:
    """The document, to be shown alone or in a frame of the console."""
    headers = {"content-security-policy": _POLICY, "x-frame-options": "SAMEORIGIN"}
    return Response(data, headers=headers, media_type="text/html; charset=utf-8")
