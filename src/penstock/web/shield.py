"""What a browser may be talked into: refused here, before any route is looked at.

    request -> id -> Host known? -> size within bounds? -> Origin ours, if it changes state? -> the app -> headers

A Host we are not called by is DNS rebinding; a state change from another Origin is request forgery. Every answer
carries a strict Content-Security-Policy (our own files only, nothing inline), and is neither framed nor stored.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import Forbidden, PenstockError
from penstock.web.refusals import json_refusal
from penstock.web.sessions import COOKIE

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
MOST_BYTES = 8 << 20
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not "no-referrer": a browser then sends "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(:[0-9]{1,5})?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Shield:
    """ASGI middleware: see the module.

    Args:
        hosts: Names this server is called by, beside the loopback ones; without port.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK | frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope["penstock.request_id"] = request_id
        armed = _Armed(send, request_id)
        try:
            self._inspect(scope, Headers(scope=scope))
        except (PenstockError, HTTPException) as error:
            await json_refusal(error, request_id)(scope, receive, armed)
            return
        await self._app(scope, _Metered(receive), armed)

    def _inspect(self, scope: Scope, headers: Headers) -> None:
        if _name_of(headers.get("host", "")) not in self._hosts:
            raise Forbidden(
                "this server is not called by that name",
                "use a loopback address, or the one that penstock.yaml names under api.host",
                code="web.host",
            )
        if headers.get("content-length", "0").isdigit() and int(headers.get("content-length", "0")) > MOST_BYTES:
            raise HTTPException(413)
        if scope["method"] not in _SAFE:
            _hold_origin(headers)


class _Armed:
    """Sends on, with the protective headers on the answer's start."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


class _Metered:
    """Receives, and counts: a body sent in chunks has no length to look at beforehand."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MOST_BYTES:
            raise HTTPException(413)
        return message


def _hold_origin(headers: Headers) -> None:
    """Refuse a state change that another site's page asked a browser for."""
    origin = headers.get("origin")
    if origin is not None:
        ours = origin.partition("://")[2].lower() == headers.get("host", "").lower()
    elif COOKIE in headers.get("cookie", ""):
        # A browser names the origin of every change it is asked for; who carries its cookie and does not, is none.
        ours = False
    else:
        ours = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    if not ours:
        raise Forbidden(
            "this change was asked for by another site's page",
            "open the console itself and try again",
            code="web.origin",
        )


def _name_of(host: str) -> str:
    """``localhost:8470`` -> ``localhost``; ``[::1]:8470`` -> ``[::1]``; empty for what is no host."""
    match = _HOST.fullmatch(host)
    return match.group(1).lower() if match else ""
