"""Stage 4, serve: the door: accepts connections from the shared socket, and closes those that are too slow.

listening socket (the supervisor's, all workers') -> one connection a turn -> HTTP or gRPC
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Collection
from time import monotonic
from typing import Protocol

_UNREAD: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""How long sent bytes may stay unread (Linux; RFC 5482)."""
_LOG = logging.getLogger("penstock.serve")


class Connection(Protocol):
    """What a door asks of a connection."""

    def busy(self) -> int:
        """Requests begun and not yet answered."""

    def check(self, now: float) -> None:
        """Close when the client is too slow; `now` is `time.monotonic`'s."""

    def close_if_idle(self) -> None:
        """Close when nothing is being asked."""


class ReadLimit(Protocol):
    """Limits of any listener."""

    @property
    def read_s(self) -> float:
        """A client that reads nothing for so long is cut off."""


class ListenerState(Protocol):
    """What the connections of one listener share.

    Attributes:
        closing: The server goes soon.
    """

    closing: bool

    @property
    def limits(self) -> ReadLimit:
        """Sizes and times."""

    @property
    def connections(self) -> Collection[Connection]:
        """Those that are open."""

    def connect(self) -> asyncio.Protocol:
        """A new one."""

    def leave(self) -> None:
        """Tell every client to go elsewhere."""


class Door:
    """Where connections come in and are watched.

    Args:
        state: The listener's.
    """

    def __init__(self, state: ListenerState) -> None:
        self.state = state
        self._listening: socket.socket | None = None
        self._accepting: set[asyncio.Task[object]] = set()

    def open(self, listening: socket.socket) -> None:
        """Accept from a socket that other workers accept from too."""
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept)

    def shut(self) -> None:
        """Accept no more, and let clients go."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
        self.state.leave()

    def _accept(self) -> None:
        """Take one connection a turn: taking all at once would leave the other workers without."""
        if self._listening is None:
            return
        try:
            accepted, _ = self._listening.accept()
        except OSError:
            # Another worker was quicker, or the client has gone.
            return
        accepted.setblocking(False)
        if accepted.family != socket.AF_UNIX:
            self._tune(accepted)
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(self.state.connect, accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepted)

    def _tune(self, accepted: socket.socket) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _UNREAD is not None:
            # An answer that fits into the kernel's own buffer is sent as far as we can see: only the kernel knows
            # that the client reads none of it, and frees what it holds.
            accepted.setsockopt(socket.IPPROTO_TCP, _UNREAD, int(1000 * self.state.limits.read_s))

    def _accepted(self, task: asyncio.Task[object]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.warning("a connection could not be taken: %s", task.exception())

    async def sweep(self) -> None:
        """Close what is too slow, each second, for ever."""
        while True:
            await asyncio.sleep(1.0)
            now = monotonic()
            for connection in list(self.state.connections):
                connection.check(now)

    def close_idle(self) -> None:
        """Close connections that hold no request."""
        for connection in list(self.state.connections):
            connection.close_if_idle()

    def held(self) -> int:
        """Requests begun and not yet answered."""
        return sum(connection.busy() for connection in self.state.connections)
