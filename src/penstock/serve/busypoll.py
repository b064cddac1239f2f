"""Stage 4, serve: stay awake for a moment after an answer, where the next request is likely to come in it.

A client that asks again as soon as it is answered would find a processor that has gone to sleep: waking it, and
filling its caches again, takes longer than the answer. So the event loop turns for a moment without waiting, as
kernels do for sockets and for virtual processors (Linux: SO_BUSY_POLL, halt_poll_ns). Each request that comes in
that moment earns a little credit, each moment in vain costs much more: callers that are slow, or that need the
processor that we would keep, soon find a loop that sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter

MOMENT_S = 150e-6
"""Longer than a client on the same machine takes to read an answer and ask again."""
ASLEEP_S = 2 * MOMENT_S
"""The same as a loop that sleeps sees it: its own awakening comes on top."""
VAIN = 16
"""Moments in vain cost so much: one is paid for by sixteen requests that came in time."""
MOST = 64


class BusyPoll:
    """Keeps an event loop awake.

    Args:
        loop: Of this thread.
        clock: Seconds; the one that requests are stamped with.

    Attributes:
        awake: Whether the loop turns without waiting.
        turns: How often it did: another number is another turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = perf_counter) -> None:
        self._loop = loop
        self._clock = clock
        self._credit = 0
        self._until = 0.0
        self._answered = 0.0
        self.awake = False
        self.turns = 0

    def answered(self, asked_at: float) -> None:
        """A turn's requests have their answers.

        Args:
            asked_at: When the first of them came, by the same clock.
        """
        now = self._clock()
        if asked_at - self._answered < (MOMENT_S if self.awake else ASLEEP_S):
            self._credit = min(self._credit + 1, MOST)
        self._answered = now
        if self._credit > 0:
            self._until = now + MOMENT_S
            if not self.awake:
                self.awake = True
                self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One turn of the loop more, unless the moment is over."""
        self.turns += 1
        if self._clock() < self._until:
            self._loop.call_soon(self._turn)
        else:
            self.awake = False
            self._credit -= VAIN
