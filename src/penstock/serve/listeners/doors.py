"""Stage 4, serve: all doors of a worker: HTTP, HTTP over a Unix socket, gRPC where there is a socket for it.

sockets (the supervisor's) -> a door each -> one flow
"""

from __future__ import annotations

import asyncio
import time

from penstock.adapters import load
from penstock.serve.flow import Flow
from penstock.serve.listeners.door import Door
from penstock.serve.listeners.http import HttpState
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.sockets import Sockets
from penstock.serve.turn import LoopTurn


class Doors:
    """Where a worker's clients come in.

    Args:
        sockets: Where it listens.
        flow: Answers calls.
        turn: Sends answers.
        limits: Of HTTP connections.
    """

    def __init__(self, sockets: Sockets, flow: Flow, turn: LoopTurn, limits: HttpLimits) -> None:
        http = HttpState(flow, turn, limits)
        self._places = [(Door(http), sockets.http)]
        self._places += [(Door(HttpState(flow, turn, limits)), one) for one in sockets.more]
        if sockets.unix is not None:
            self._places.append((Door(HttpState(flow, turn, limits)), sockets.unix))
        if sockets.grpc is not None:
            self._places.append((Door(load("listener", "grpc")(flow, turn)), sockets.grpc))
        self._doors = [door for door, _ in self._places]

    def open(self) -> None:
        """Accept."""
        for door, listening in self._places:
            door.open(listening)

    async def sweep(self) -> None:
        """Close what is too slow, for ever."""
        await asyncio.gather(*(door.sweep() for door in self._doors))

    def close_soon(self) -> None:
        """Answer on, and tell each client to go elsewhere."""
        for door in self._doors:
            door.state.closing = True

    async def drain(self, idle_s: float) -> None:
        """Accept no more, finish what is held, and close.

        Args:
            idle_s: Idle clients get so long to ask once more and to be told to reconnect.
        """
        for door in self._doors:
            door.shut()
        patience = time.monotonic() + idle_s
        while self._held() or (self._connected() and time.monotonic() < patience):
            await asyncio.sleep(0.01)
        for door in self._doors:
            door.close_idle()
        await asyncio.sleep(0.05)

    def _held(self) -> int:
        return sum(door.held() for door in self._doors)

    def _connected(self) -> int:
        return sum(len(door.state.connections) for door in self._doors)
