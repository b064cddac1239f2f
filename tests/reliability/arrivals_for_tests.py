"""Requests that come when they come, whatever the server does: an open-loop generator.

A closed loop sends the next request when the last one was answered, so an overloaded server slows its own load down
and its queue is never seen. Here request n leaves at n / rate, on a connection that is free, or on a new one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import NamedTuple

import uvloop

from tests.reliability.clients_for_tests import Reply, Wire


class Arrival(NamedTuple):
    """One request: when it should have left, when it was answered, and how; status 0 is a lost connection."""

    due: float
    ended: float
    status: int
    retry_after: str
    code: str

    @property
    def seconds(self) -> float:
        return self.ended - self.due


class Arrivals:
    """Sends at a rate, for some seconds.

    Args:
        port: Where.
        request: What.
        rate: Requests a second.
    """

    def __init__(self, port: int, request: bytes, *, rate: float, seconds: float) -> None:
        self.done: list[Arrival] = []
        self._port = port
        self._request = request
        self._rate = rate
        self._seconds = seconds
        self._free: list[Wire] = []

    def run(self) -> Arrivals:
        """Until the last one was answered."""
        uvloop.run(self.all())
        return self

    async def all(self) -> None:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(self._rate * self._seconds)):
                due = begun + number / self._rate
                if (pause := due - time.monotonic()) > 0:
                    await asyncio.sleep(pause)
                group.create_task(self._one(due))
        for wire in self._free:
            wire.close()

    async def _one(self, due: float) -> None:
        wire = self._free.pop() if self._free else Wire(self._port)
        try:
            reply = await wire.ask(self._request)
        except (OSError, TimeoutError) as error:
            wire.close()
            self.done.append(Arrival(due, time.monotonic(), 0, "", repr(error)))
            return
        self._free.append(wire)
        self.done.append(
            Arrival(due, time.monotonic(), reply.status, reply.headers.get("retry-after", ""), code_of(reply))
        )

    @property
    def statuses(self) -> Counter[int]:
        return Counter(one.status for one in self.done)

    def times(self, *statuses: int) -> list[float]:
        return [one.seconds for one in self.done if one.status in statuses]

    def goodput(self) -> float:
        """Answers a second, over the time from the first to the last request that was due."""
        good = [one for one in self.done if one.status == 200]
        last = max(one.due for one in self.done)
        first = min(one.due for one in self.done)
        return len([one for one in good if one.ended <= last]) / (last - first)


def code_of(reply: Reply) -> str:
    """What the server counts it as."""
    if reply.status == 200:
        return "ok"
    text = reply.body.decode()
    return text.partition('"code":"')[2].partition('"')[0]
