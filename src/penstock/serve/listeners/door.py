"""Stage 4, serve: the door: accepts connections from the shared socket, and closes those that are too slow.

listening socket (the supervisor's, all workers') -> one connection a turn -> HttpConnection
"""

from __future__ import annotations

import asyncio
import logging
import socket
from time import monotonic

from penstock.serve.flow import Flow
from penstock.serve.listeners.http import HttpConnection, HttpState
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.turn import LoopTurn

_UNREAD: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""How long sent bytes may stay unread (Linux; RFC 5482)."""
_LOG = logging.getLogger("penstock.serve")


class Door:
    """Where connections come in and are watched.

    Args:
        flow: Answers calls.
        turn: Sends answers.
        limits: Sizes and times.
    """

    def __init__(self, flow: Flow, turn: LoopTurn, limits: HttpLimits) -> None:
        self.state = HttpState(flow, turn, limits)
        self._listening: socket.socket | None = None
        self._accepting: set[asyncio.Task[object]] = set()

    def open(self, listening: socket.socket) -> None:
        """Accept from a socket that other workers accept from too."""
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept)

    def shut(self) -> None:
        """Accept no more."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())

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
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _UNREAD is not None:
            # An answer that fits into the kernel's own buffer is sent as far as we can see: only the kernel knows
            # that the client reads none of it, and frees what it holds.
            accepted.setsockopt(socket.IPPROTO_TCP, _UNREAD, int(1000 * self.state.limits.read_s))
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.connect_accepted_socket(lambda: HttpConnection(self.state), accepted))
        self._accepting.add(task)
        task.add_done_callback(self._accepted)

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
