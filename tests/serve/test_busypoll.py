"""The moment after an answer: awake where the next request comes in it, asleep where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from penstock.serve.busypoll import MOMENT_S, VAIN, BusyPoll

TURN_S = 2e-6


class Loop:
    """An event loop and its clock: each turn takes a little time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.turns = 0
        self._soon: list[Callable[[], None]] = []
        self.poll = BusyPoll(cast(asyncio.AbstractEventLoop, self), lambda: self.now)

    def call_soon(self, call: Callable[[], None]) -> None:
        self._soon.append(call)

    def request_after(self, gap_s: float) -> int:
        """A request so long after the last answer; the number of turns that the loop did not sleep meanwhile."""
        until, turns = self.now + gap_s, 0
        while self._soon and self.now < until:
            soon, self._soon = self._soon, []
            self.now += TURN_S
            turns += 1
            for call in soon:
                call()
        self.now = max(self.now, until)
        self.poll.answered(self.now)
        return turns


def test_a_client_that_asks_at_once_finds_the_loop_awake() -> None:
    loop = Loop()
    loop.request_after(1.0)
    assert [loop.request_after(40e-6) > 0 for _ in range(20)] == [False] + [True] * 19


def test_a_client_that_takes_its_time_lets_it_sleep() -> None:
    loop = Loop()
    for _ in range(100):
        assert loop.request_after(0.01) == 0


def test_moments_in_vain_are_few() -> None:
    """Every fourth request comes late: not worth it, so nearly all of the time it sleeps."""
    loop = Loop()
    late = [loop.request_after(0.01 if number % 4 == 0 else 40e-6) > 0 for number in range(4000)][::4]
    assert sum(late) <= 4000 / VAIN


def test_a_moment_ends() -> None:
    loop = Loop()
    for _ in range(10):
        loop.request_after(40e-6)
    assert loop.request_after(1.0) <= MOMENT_S / TURN_S + 1
