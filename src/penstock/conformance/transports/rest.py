"""REST over the standard library's HTTP client: one connection, opened anew where the server closed it.

Source: RFC 9112.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import shlex
import zlib
from urllib.parse import urlsplit

from penstock.conformance.transport import Heard, Sent, Transport, Unheard

LONGEST_LINE = 20_000
"""Bytes of a body that still go into a line to paste."""


class RestTransport(Transport):
    """One server's REST address.

    Args:
        url: ``http://host:port`` with whatever path stands before ``/v2``.
        token: Sent as a bearer's; empty for none.
        timeout_s: How long an answer may take.
    """

    def __init__(self, url: str, token: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._before = parts.path
        self._timeout_s = timeout_s
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)

    def ask(self, sent: Sent) -> Heard:
        """Ask once; a second time where a kept connection was closed before a byte came."""
        kept = self._connection.sock is not None
        try:
            return self._ask(sent)
        except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError) as error:
            self.close()
            if not kept:
                raise Unheard(_why(error)) from None
        except (OSError, http.client.HTTPException, EOFError, zlib.error) as error:
            self.close()
            raise Unheard(self._late() if isinstance(error, TimeoutError) else _why(error)) from None
        try:
            return self._ask(sent)
        except (OSError, http.client.HTTPException, EOFError, zlib.error) as error:
            self.close()
            raise Unheard(self._late() if isinstance(error, TimeoutError) else _why(error)) from None

    def shown(self, sent: Sent) -> str:
        """A line for curl."""
        method, _, path = sent.what.partition(" ")
        words = ["curl", "-sS", "-i"]
        words += ["--head"] if method == "HEAD" else ["-X", method] if method != "GET" else []
        words.append(shlex.quote(f"{self._url}{path}"))
        if self._token:
            words += ["-H", '"Authorization: Bearer $TOKEN"']
        for name, value in sent.headers.items():
            words += ["-H", shlex.quote(f"{name}: {value}")]
        if "content-type" not in sent.headers and method == "POST":
            words += ["-H", "content-type:"]
        if sent.chunked:
            words += ["-H", "'transfer-encoding: chunked'"]
        if len(sent.body) > LONGEST_LINE:
            return " ".join([*words, f"--data-binary @BODY   # {len(sent.body)} bytes; ask again with --only"])
        text = sent.body.decode("utf-8", "replace")
        if text.encode() == sent.body and (text.isprintable() or not text.strip("\n ").count("\0")):
            return " ".join([*words, *(["--data-binary", shlex.quote(text)] if sent.body or method == "POST" else [])])
        packed = base64.b64encode(sent.body).decode()
        return f"echo {packed} | base64 -d | {' '.join(words)} --data-binary @-"

    def close(self) -> None:
        """Close the connection; the next request opens it."""
        self._connection.close()

    def _ask(self, sent: Sent) -> Heard:
        method, _, path = sent.what.partition(" ")
        headers = dict(sent.headers)
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        if sent.chunked:
            pieces = [sent.body[at : at + 7] for at in range(0, len(sent.body), 7)]
            headers["transfer-encoding"] = "chunked"
            self._connection.request(method, self._before + path, iter(pieces), headers, encode_chunked=True)
        else:
            body = sent.body if sent.body or method not in ("GET", "HEAD") else None
            self._connection.request(method, self._before + path, body, headers)
        answer = self._connection.getresponse()
        body = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Heard(answer.status, headers=found, body=body)

    def _late(self) -> str:
        return f"no answer within {self._timeout_s:g} s"


def _why(error: Exception) -> str:
    """What happened to the connection, in words."""
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionError):
        return "the connection was closed without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"what came back is not HTTP ({type(error).__name__})"
    if isinstance(error, EOFError | zlib.error):
        return "the body is not what its Content-Encoding says"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
