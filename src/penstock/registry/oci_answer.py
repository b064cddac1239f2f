"""What goes to somebody's registry and what comes back, neither of it held in memory whole."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from penstock.errors import BadConfig, NotReady, Untrusted

_CHUNK_BYTES = 1 << 20


class Sending(NamedTuple):
    """A body that can be sent again from its start."""

    size: int
    chunks: Callable[[], Iterator[bytes]]


class OciAnswer:
    """An answer whose body is still to be read; a context manager that hangs up.

    Attributes:
        headers: By lower-case name.
        url: Who answered at last.
    """

    def __init__(self, response: http.client.HTTPResponse, url: str, hang_up: Callable[[], None]) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.url = url
        self._response = response
        self._hang_up = hang_up

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; the reader stops when it is more than was said.

        Raises:
            OSError: The connection broke, or took too long.
            http.client.HTTPException: The same.
        """
        while chunk := self._response.read1(_CHUNK_BYTES):
            yield chunk
        if self._response.length:
            raise ConnectionError("the body is shorter than its head says")

    def read(self, limit: int) -> bytes:
        """A small body, whole.

        Raises:
            Untrusted: It is longer than `limit` bytes.
        """
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise Untrusted(f"the registry's answer is longer than {limit} bytes", "ask who runs it")
        return bytes(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()
        self._hang_up()


def gone(error: Exception) -> NotReady | BadConfig:
    """What a broken connection is to whoever asked."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return BadConfig(
            "the registry's certificate is not one that is trusted here",
            "name its authority's file in SSL_CERT_FILE",
            code="oci.certificate",
        )
    return NotReady(
        f"the registry does not answer as it should: {type(error).__name__}",
        "check host and port; what arrived is not sent again when you repeat this",
        code="oci.unready",
    )
