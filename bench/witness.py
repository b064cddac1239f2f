"""A quiet client beside the load: asks at a slow pace, and holds every answer against the right numbers.

A server that mixes up its callers' rows under load, or answers a busy moment with rubbish, is seen here: the load
itself only counts statuses.
"""

from __future__ import annotations

import os
import time
from threading import Event, Thread

from bench.client import connect
from bench.server import LOAD_CPU
from bench.traffic import Traffic, fault

EVERY_S = 0.02
SHARE = 0.1
"""At most this part of the time it waits for an answer, so that it is no further connection at a slow server."""


class Witness:
    """Asks while it is entered.

    Attributes:
        checked: Answers compared.
        faults: What was wrong with those that were not right.
    """

    def __init__(self, port: int, traffic: Traffic, *, pinned: bool = False) -> None:
        self.checked = 0
        self.faults: list[str] = []
        self._port = port
        self._traffic = traffic
        self._pinned = pinned
        self._over = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        if self._pinned:
            os.sched_setaffinity(0, {LOAD_CPU})  # of this thread alone
        client = connect(self._port, self._traffic)
        pause_s = EVERY_S
        while not self._over.wait(pause_s):
            # Another order than the load's, so that the two hold different rows at any moment.
            index = self.checked * 37 % len(self._traffic.bodies)
            asked_at = time.perf_counter()
            try:
                found = fault(self._traffic, index, client.ask(self._traffic, index))
            except ConnectionError as error:
                found = str(error)
            pause_s = max(EVERY_S, (time.perf_counter() - asked_at) / SHARE)
            self.checked += 1
            if found:
                self.faults.append(found)
        client.close()
