"""Stage 4, serve: the end of an event-loop turn: the log's one write first, then one write a connection.

In this order a killed worker has logged whatever it answered, and a burst of requests costs two system calls, not
two each.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from penstock.serve.recorder import Recorder


class Outbox(Protocol):
    """Somebody with answers to send."""

    def send(self) -> None:
        """Send all that is ready."""


class LoopTurn:
    """Collects whoever has something to send in this turn."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._outboxes: list[Outbox] = []
        self._loop = asyncio.get_running_loop()

    def add(self, outbox: Outbox) -> None:
        """Let it send at the end of the turn."""
        if not self._outboxes:
            self._loop.call_soon(self._end)
        self._outboxes.append(outbox)

    def _end(self) -> None:
        outboxes, self._outboxes = self._outboxes, []
        self._recorder.flush()
        for outbox in outboxes:
            outbox.send()
