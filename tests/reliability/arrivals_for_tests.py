"""Requests that come when they come, whatever the server does: an open-loop generator.

    Arrivals(port, request, rate) -> a process with an event loop -> Arrival of every request

A closed loop sends the next request when the last one was answered, so an overloaded server slows its own load down
and its queue is never seen. Here request n leaves at n / rate, on a connection that is free, or on a new one; what a
test's other threads do meanwhile is not felt.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

import msgspec
import uvloop

from tests.reliability.clients_for_tests import Reply, Wire, beside_us


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
    """Sends at a rate, for some seconds, from a process of its own.

    Args:
        port: Where.
        request: What.
        rate: Requests a second.
    """

    def __init__(self, port: int, request: bytes, *, rate: float, seconds: float) -> None:
        self.done: list[Arrival] = []
        self._order = Order(port, base64.b64encode(request).decode(), rate, seconds)

    def run(self) -> Arrivals:
        """Until the last one was answered."""
        words = [
            sys.executable,
            "-m",
            "tests.reliability.arrivals_for_tests",
            msgspec.json.encode(self._order).decode(),
        ]
        told = subprocess.run(words, env=beside_us(), stdout=subprocess.PIPE, check=True).stdout
        self.done = msgspec.json.decode(told, type=list[Arrival])
        return self

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


class Order(NamedTuple):
    """What the sending process is told; see `Arrivals`."""

    port: int
    request: str
    rate: float
    seconds: float


class Sender:
    """Sends, in its process."""

    def __init__(self, order: Order) -> None:
        self.done: list[Arrival] = []
        self._port = order.port
        self._request = base64.b64decode(order.request)
        self._rate = order.rate
        self._seconds = order.seconds
        self._free: list[Wire] = []

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


def code_of(reply: Reply) -> str:
    """What the server counts it as."""
    if reply.status == 200:
        return "ok"
    text = reply.body.decode()
    return text.partition('"code":"')[2].partition('"')[0]


def main() -> None:
    """Send, and say how each was answered."""
    sender = Sender(msgspec.json.decode(sys.argv[1], type=Order))
    uvloop.run(sender.all())
    sys.stdout.buffer.write(msgspec.json.encode(sender.done))


if __name__ == "__main__":
    main()
