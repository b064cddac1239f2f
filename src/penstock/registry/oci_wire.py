"""HTTP to somebody's registry, which is not trusted: bounded in time and size, and secrets stay with their host.

    ask(method, url) -> login where it is asked for -> redirects (reads only) -> OciAnswer

A password or token goes to the registry it is for and to nobody it redirects to. Plain HTTP is spoken to this machine
alone, unless it is asked for. A registry out in the world cannot send us to an address inside our own network.
"""

from __future__ import annotations

import http.client
import ipaddress
import random
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec

from penstock.errors import Forbidden, NotReady, Untrusted
from penstock.registry.oci_answer import OciAnswer, Sending, gone
from penstock.registry.oci_login import DOCKER_HUB, OciChallenge, OciLogin, read_challenge
from penstock.registry.oci_reference import OciReference

PATIENCE_S = 60.0
"""For a whole exchange, beside what its bytes may take."""
SLOWEST_BYTES_PER_S = 64 << 10
TRIES = 3
_SILENCE_S = 30.0
_MAX_REDIRECTS = 5
_MAX_TOKEN_BYTES = 1 << 20
_MAX_WAIT_S = 20.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({429, 500, 502, 503, 504})
_LOCAL = ("localhost", "localhost.localdomain")


class OciEndpoint(NamedTuple):
    """Who is spoken to."""

    scheme: str
    host: str
    port: int


class _Token(msgspec.Struct):
    """What a realm answers."""

    token: str = ""
    access_token: str = ""


class OciWire:
    """Exchanges with one registry.

    Args:
        reference: Whose registry.
        login: Who we are there.
        scope: What tokens are asked for: ``pull`` or ``pull,push``.
        plain_http: Speak HTTP without TLS to hosts other than this machine.
        patience_s: For each exchange, beside what its bytes may take.

    Raises:
        BadConfig: The registry's address is of no use.
    """

    def __init__(
        self,
        reference: OciReference,
        login: OciLogin,
        *,
        scope: str,
        plain_http: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        host = "registry-1.docker.io" if reference.host == DOCKER_HUB else reference.host
        bare = plain_http or is_local(host)
        scheme = "http" if bare else "https"
        self._home = OciEndpoint(scheme, host, reference.port or (80 if bare else 443))
        shown = f"[{host}]" if ":" in host else host
        self.base = f"{scheme}://{shown}:{self._home.port}/v2/{reference.repository}/"
        self._login = login
        self._scope = f"repository:{reference.repository}:{scope}"
        self._plain_http = plain_http
        self._patience_s = patience_s
        self._secret = ""
        self._outside = False

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Sending | None = None,
        expected: int = 0,
        tries: int = TRIES,
    ) -> OciAnswer:
        """One exchange, whatever its status but those that ask for a login or for another try.

        Args:
            method: Reads are redirected, writes are not.
            url: Under `base`, or where an answer pointed to.
            headers: More of them.
            body: What is sent.
            expected: Bytes that the answer may have; they buy it time.
            tries: How often, where the registry is not there or not ready.

        Raises:
            Forbidden: The registry does not know us, or does not let us.
            NotReady: It is not there, or not now.
            Untrusted: It redirects without end, or to where it may not.
        """
        for attempt in range(1, tries + 1):
            wait_s = random.uniform(0.3, 0.6) * 2**attempt  # noqa: S311 (so that many do not come at once)
            try:
                answer = self._followed(method, url, dict(headers or {}), body, expected)
            except (OSError, http.client.HTTPException) as error:
                if attempt == tries:
                    raise gone(error) from error
            else:
                if answer.status not in _AGAIN or attempt == tries:
                    return self._allowed(answer)
                wait_s = max(wait_s, _seconds(answer.headers.get("retry-after", "")))
                with answer:
                    pass
            time.sleep(min(wait_s, _MAX_WAIT_S))
        raise NotReady("the registry is not ready", "try again later", code="oci.unready")

    def _followed(
        self, method: str, url: str, headers: dict[str, str], body: Sending | None, expected: int
    ) -> OciAnswer:
        """An answer that is neither a redirect nor the first question of who we are."""
        logged_in = False
        for _ in range(_MAX_REDIRECTS + 2):
            place = self._place(url)
            secret = {"Authorization": self._secret} if self._secret and place == self._home else {}
            answer = self._once(method, url, headers | secret, body, expected)
            if answer.status == 401 and place == self._home and not logged_in:
                with answer:
                    self._log_in(answer.headers.get("www-authenticate", ""))
                logged_in = True
            elif answer.status in _REDIRECTS and method in ("GET", "HEAD") and "location" in answer.headers:
                with answer:
                    url = urljoin(url, answer.headers["location"])
            else:
                return answer
        raise Untrusted("the registry redirects without end", "ask who runs it", code="oci.redirect")

    def _log_in(self, header: str) -> None:
        """Have at hand what the registry asked for."""
        challenge = read_challenge(header)
        if challenge is None or (challenge.scheme == "basic" and not self._login.user):
            raise _unknown()
        if challenge.scheme == "basic":
            self._secret = self._login.basic
            return
        self._secret = "Bearer " + self._token(challenge)

    def _token(self, challenge: OciChallenge) -> str:
        """A token of the realm: the password goes there, since the registry it is for says so, and no further."""
        headers = {"Authorization": self._login.basic} if self._login.user else {}
        url = challenge.url(self._scope)
        with self._once("GET", url, headers, None, _MAX_TOKEN_BYTES) as answer:
            if answer.status in _AGAIN:
                raise ConnectionError("the realm is not ready")
            if answer.status != 200:
                raise _unknown()
            try:
                found = msgspec.json.decode(answer.read(_MAX_TOKEN_BYTES), type=_Token)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Untrusted(
                    "what should be a token is none", "ask who runs the registry", code="oci.token"
                ) from error
        token = found.token or found.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise Untrusted("what should be a token is none", "ask who runs the registry", code="oci.token")
        return token

    def _place(self, url: str) -> OciEndpoint:
        """Whom a URL speaks of, if it may be spoken to at all."""
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _astray() from error
        # What is not printed would become a header of its own, or another request.
        if parts.scheme not in ("http", "https") or not host or parts.username or not url.isascii() or " " in url:
            raise _astray()
        if not url.isprintable():
            raise _astray()
        if parts.scheme == "http" and not (self._plain_http or is_local(host)):
            raise Untrusted(
                "the registry sends us on without TLS", "say --plain-http if you mean that", code="oci.redirect"
            )
        return OciEndpoint(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))

    def _once(self, method: str, url: str, headers: dict[str, str], body: Sending | None, expected: int) -> OciAnswer:
        """One request and its answer's head."""
        place = self._place(url)
        # More than its share of time and the connection is cut, however busy it looks.
        limit_s = self._patience_s + (expected + (body.size if body else 0)) / SLOWEST_BYTES_PER_S
        connection = _connection(place, min(_SILENCE_S, self._patience_s))
        connection.connect()
        line = connection.sock
        timer = threading.Timer(limit_s, _cut, [line])
        timer.daemon = True
        timer.start()

        def hang_up() -> None:
            timer.cancel()
            connection.close()
            # A socket that was handed on to the response is closed with it; this one may still be ours.
            with suppress(OSError):
                line.close()

        try:
            self._check_address(place, line.getpeername()[0])
            parts = urlsplit(url)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            size = {"Content-Length": str(body.size if body else 0)} if method not in ("GET", "HEAD") else {}
            sent = headers | size | {"User-Agent": "penstock", "Connection": "close"}
            connection.request(method, path, body=body.chunks() if body else None, headers=sent)
            return OciAnswer(connection.getresponse(), url, hang_up)
        except BaseException:
            hang_up()
            raise

    def _check_address(self, place: OciEndpoint, address: str) -> None:
        """Whom one out in the world names must be out in the world too."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if place == self._home:
            self._outside = found.is_global
        elif self._outside and not found.is_global:
            raise Untrusted(
                "the registry sends us to an address in our own network", "ask who runs it", code="oci.redirect"
            )

    def _allowed(self, answer: OciAnswer) -> OciAnswer:
        """The answer, unless it says who may not."""
        if answer.status in (401, 403):
            with answer:
                raise (
                    _unknown()
                    if answer.status == 401
                    else Forbidden(
                        "the registry does not let us do that", "ask its owner for the right", code="oci.forbidden"
                    )
                )
        return answer


def is_local(host: str) -> bool:
    """Whether a host is this machine by its name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in _LOCAL


def _connection(place: OciEndpoint, timeout_s: float) -> http.client.HTTPConnection:
    if place.scheme == "http":
        return http.client.HTTPConnection(place.host, place.port, timeout=timeout_s)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(place.host, place.port, timeout=timeout_s, context=context)


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def _seconds(text: str) -> float:
    """Of Retry-After; a date is not worth a calendar here."""
    return float(text[:6]) if text.isascii() and text.isdigit() else 0.0


def _astray() -> Untrusted:
    return Untrusted("the registry names a place that is none", "ask who runs it", code="oci.redirect")


def _unknown() -> Forbidden:
    return Forbidden(
        "the registry does not know who we are",
        "set PENSTOCK_OCI_USER and PENSTOCK_OCI_PASSWORD, or docker login",
        code="oci.login",
    )
