"""Stage 4, serve: what passes between a listener and the flow: a call comes in, a reply goes out.

Both are free of input and output: an HTTP listener, a function handler and a test make and take the same. A reply
whose body is not here yet brings its parts one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec

QUERY = b":query"
"""Where a listener puts the query of a request target, among the headers: no header can have such a name."""


class Call(msgspec.Struct, frozen=True):
    """One request as a listener read it.

    Attributes:
        method: Upper case.
        path: Without the query, percent-decoded.
        headers: Names in lower case.
        body: Decompressed.
        received_at: Seconds since the epoch.
        started: `time.perf_counter` when the last byte came.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    received_at: float
    started: float

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name in the query of the request target; a name alone has an empty one."""
        return dict(parse_qsl(self.headers.get(QUERY, b"").decode("ascii", "replace"), keep_blank_values=True))


class PartsSource(Protocol):
    """Where a body comes from that comes in parts."""

    def go_on(self) -> None:
        """The client reads: more is welcome."""

    def cancel(self) -> None:
        """The client has gone."""


class Parts:
    """A body that comes in parts: put in as they are made, taken out by whoever listens.

    Attributes:
        room: Whether more is welcome; a client that reads slowly has none.
        begun: Whether the head of the answer has left; the listener's.
    """

    __slots__ = ("_data", "_ended", "_heard", "_source", "begun", "room")

    def __init__(self, source: PartsSource) -> None:
        self.room = True
        self.begun = False
        self._source = source
        self._data: list[bytes] = []
        self._ended = False
        self._heard: Callable[[], None] | None = None

    def attach(self, heard: Callable[[], None]) -> None:
        """Have somebody told whenever there is something to read."""
        self._heard = heard

    def put(self, data: bytes) -> None:
        """One more part."""
        self._data.append(data)
        if self._heard is not None:
            self._heard()

    def end(self) -> None:
        """That was the last one."""
        self._ended = True
        if self._heard is not None:
            self._heard()

    def read(self) -> tuple[bytes, bool]:
        """All that came since the last time, and whether nothing follows."""
        data, self._data = self._data, []
        return b"".join(data), self._ended

    def hold(self) -> None:
        """The client does not read."""
        self.room = False

    def go_on(self) -> None:
        """It reads again."""
        self.room = True
        self._source.go_on()


class Reply(msgspec.Struct, frozen=True):
    """What goes back.

    Attributes:
        headers: Further header lines, each ended by CR LF.
        parts: The body where it is not here yet: `body` is empty then.
    """

    status: int
    body: bytes = b""
    content_type: bytes = b"application/json"
    headers: bytes = b""
    parts: Parts | None = None
