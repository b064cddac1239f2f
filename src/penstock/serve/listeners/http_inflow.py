"""Stage 4, serve: the receiving half of an HTTP/1.1 connection: bytes to whole requests, within their limits.

    bytes -> llhttp (strict) -> framing, sizes -> method, path, headers, body -> the connection

A framing that two parsers could read in two ways (both lengths, two lengths, a bare line feed) is refused.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol
from urllib.parse import unquote

import httptools

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.calls import QUERY
from penstock.serve.encodings import decompressed
from penstock.serve.listeners.heads import Heads
from penstock.serve.listeners.limits import HttpLimits


class Receiver(Protocol):
    """The connection, as its receiving half knows it."""

    def ask(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes, *, keep_alive: bool = True) -> None:
        """A whole request is here."""

    def expected(self) -> None:
        """The client waits to be told that its body is welcome."""

    def refuse(self, error: PenstockError) -> None:
        """What came so far cannot be taken."""

    def stop_reading(self) -> None:
        """Nothing that follows is a request."""


class HttpInflow:
    """The receiving half of a connection.

    Args:
        limits: Sizes.
        heads: Gets those that may be looked up the next time.
        receiver: Gets whole requests.

    Attributes:
        between: No byte of a next request has come: what comes may be one whose head is known.
        in_body: A head is whole, its body not.
        head_bytes: Of a head that is not whole.
        body_bytes: Of the body so far.
        since: When it began to wait for what it waits for; the connection moves it on when it answers.
        stopped: What comes is no request any more.
    """

    __slots__ = (
        "_body",
        "_fed",
        "_headers",
        "_heads",
        "_limits",
        "_parser",
        "_receiver",
        "_url",
        "between",
        "body_bytes",
        "head_bytes",
        "in_body",
        "since",
        "stopped",
    )  # fmt: skip

    def __init__(self, limits: HttpLimits, heads: Heads, receiver: Receiver) -> None:
        self._limits = limits
        self._heads = heads
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._fed = b""
        self.between = True
        self.in_body = False
        self.head_bytes = 0
        self.body_bytes = 0
        self.since = monotonic()
        self.stopped = False

    def read(self, data: bytes) -> None:
        """Take bytes from the client."""
        if not self.in_body:
            if not self.head_bytes:
                self.since = monotonic()
            self.head_bytes += len(data)
        self._fed = data if self.between else b""
        self.between = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here is upgraded; the request itself was handled.
            self._receiver.stop_reading()
        except httptools.HttpParserError:
            if not self.stopped:
                self._receiver.refuse(InvalidInput("this is not HTTP/1.1", "see RFC 9112", code="input.http"))
        if not self.in_body and self.head_bytes > self._limits.head_bytes and not self.stopped:
            self._receiver.refuse(_too_much_head())

    def knows_chunks(self) -> bool:
        """Whether who asks speaks HTTP/1.1 and not 1.0."""
        return bool(self._parser.get_http_version() != "1.0")

    def forget(self) -> None:
        """Let go of what came so far: it is refused."""
        self.in_body = False
        self.head_bytes = 0
        self._body = []

    def end(self) -> None:
        """The client is gone.

        Parser, this and the connection hold each other: a body that was refused would stay until the collector comes
        by, which it does by the number of objects and not by their size.
        """
        self.stopped = True
        self._body = []
        del self._parser, self._receiver

    # -- the parser's side

    def on_message_begin(self) -> None:
        """A request line starts."""
        self.between = False
        self._url = b""
        self._headers = {}
        self._body = []
        self.body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; the framing ones must be alone."""
        name = name.lower()
        headers = self._headers
        if name in headers:
            if name in (b"content-length", b"transfer-encoding", b"host", b"authorization"):
                self._receiver.refuse(
                    InvalidInput("a header is given twice", "send it once", where=f"headers.{name.decode()}")
                )
            value = headers[name] + b"," + value
        headers[name] = value
        if len(headers) > self._limits.headers:
            self._receiver.refuse(_too_much_head())

    def on_headers_complete(self) -> None:
        """All headers are here: refuse what can be refused before a byte of body."""
        if self.stopped:
            return
        headers = self._headers
        self.in_body = True
        self.since = monotonic()
        if self.head_bytes > self._limits.head_bytes and len(self._url) + _size(headers) > self._limits.head_bytes:
            self._receiver.refuse(_too_much_head())
            return
        self._check_framing(headers)
        if b"expect" in headers and not self.stopped:
            self._receiver.expected()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self.stopped:
            return
        self.body_bytes += len(data)
        if self.body_bytes > self._limits.body_bytes:
            self._receiver.refuse(_too_large(self._limits.body_bytes))
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self.in_body = False
        self.head_bytes = 0
        if self.stopped:
            return
        method, path, headers = self._parser.get_method().decode(), _path(self._url), self._headers
        if b"?" in self._url:
            headers[QUERY] = self._url.partition(b"?")[2]
        keep_alive = self._parser.should_keep_alive()
        if keep_alive:
            # More may follow in the same bytes: then it is not alone, and is not kept.
            self.between = True
            self._heads.keep(self._fed, method, path, headers)
            self._fed = b""
        try:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            if b"content-encoding" in headers:
                body = decompressed(body, headers[b"content-encoding"], self._limits.body_bytes)
        except PenstockError as error:
            self._receiver.refuse(error)
            return
        self._receiver.ask(method, path, headers, body, keep_alive=keep_alive)

    def _check_framing(self, headers: dict[bytes, bytes]) -> None:
        """Refuse what two parsers could read in two ways, and what is announced as too large."""
        refuse = self._receiver.refuse
        if b"host" not in headers and self.knows_chunks():
            refuse(InvalidInput("there is no Host header", "send one", where="headers.host"))
        if b"transfer-encoding" not in headers:
            if int(headers.get(b"content-length", b"0")) > self._limits.body_bytes:
                refuse(_too_large(self._limits.body_bytes))
        elif b"content-length" in headers:
            refuse(InvalidInput("there are two lengths", "send Content-Length or chunks", code="input.http"))
        elif headers[b"transfer-encoding"].strip().lower() != b"chunked":
            refuse(InvalidInput("this transfer encoding is not spoken", "send chunked", code="input.http"))


def _path(url: bytes) -> str:
    """The path of a request target, without its query."""
    path = url.partition(b"?")[0].decode("ascii", "replace")
    return unquote(path, errors="replace") if "%" in path else path


def _size(headers: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items())


def _too_large(limit: int) -> InvalidInput:
    return InvalidInput(
        f"the body is larger than {limit} bytes", "send fewer rows", code="serve.too_large", where="body"
    )


def _too_much_head() -> InvalidInput:
    return InvalidInput("the headers are too large or too many", "send fewer", code="serve.headers_too_large")
