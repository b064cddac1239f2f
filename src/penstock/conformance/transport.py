"""How the conformance kit reaches a server: a contract, and the nouns that go through it.

Comes in: `Sent`. Goes out: `Heard`; what was not answered at all is `Unheard`, which is a result and no crash.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

OK_CODE = "OK"


class Sent(NamedTuple):
    """A request as it goes out.

    Attributes:
        what: ``POST /v2/...`` or the method of gRPC.
        headers: Of REST; by lower-case name.
        body: Of REST.
        message: Fields of gRPC's request; bytes are base64.
        chunked: The body goes in pieces.
    """

    what: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    message: Mapping[str, object] = {}
    chunked: bool = False


class Heard(NamedTuple):
    """An answer as it came.

    Attributes:
        status: Of REST; 0 over gRPC.
        code: Name of gRPC's code; empty over REST.
        headers: By lower-case name.
        body: Of REST, decompressed.
        message: Fields of gRPC's answer.
        text: What gRPC's status says.
    """

    status: int = 0
    code: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""
    message: Mapping[str, object] = {}
    text: str = ""

    @property
    def refused(self) -> bool:
        """Whether the status says error."""
        return self.status >= 400 or self.code not in ("", OK_CODE)

    def json(self) -> object:
        """The body, or the message.

        Raises:
            ValueError: The body is not JSON.
        """
        if self.code:
            return self.message
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from None

    def shown(self) -> str:
        """Status and the beginning of what came, for people."""
        if self.code:
            return f"{self.code}: {self.text}" if self.code != OK_CODE else f"OK {str(dict(self.message))[:300]}"
        text = self.body[:300].decode("utf-8", "replace")
        return f"{self.status} {text}" if text.isprintable() else f"{self.status} and {len(self.body)} bytes"


class Unheard(Exception):
    """There was no answer: refused, closed, or too late."""


class Transport(ABC):
    """One way to ask a server."""

    @abstractmethod
    def ask(self, sent: Sent) -> Heard:
        """Ask, and wait for the answer.

        Raises:
            Unheard: There is none.
        """

    @abstractmethod
    def shown(self, sent: Sent) -> str:
        """A line that a person can paste to ask the same; it never holds the token."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""
