"""Limit line: our own listener with the model, the checks, the log and the counters taken out.

The same bytes come in as for a prediction, on the quick path of usual requests; the answer is always the same.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from penstock.serve.calls import Call, Reply
from penstock.serve.express import Entry, Ticket
from penstock.serve.listeners.door import Door
from penstock.serve.listeners.http import HttpState
from penstock.serve.listeners.limits import HttpLimits
from penstock.serve.meters import Meters
from penstock.serve.recorder import Recorder
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Answer

BODY = b'{"outputs":[{"name":"probabilities","shape":[1,2],"datatype":"FP32","data":[0.25,0.75]}]}'
LINES = (b"content-type: application/json\r\n", b"")


class Hello:
    """Stands where the flow stands: every request is usual, and answered at once."""

    epoch = object()

    @property
    def board(self) -> Hello:
        """Nothing ever changes on it."""
        return self

    def ticket(self, call: Call) -> Ticket:
        """For everybody."""
        del call
        return Ticket(self.epoch, self, "", 0.0)  # type: ignore[arg-type]

    def take(self, entry: Entry) -> None:
        """A request whose head is known."""
        entry.predicted("0", LINES, BODY)

    def handle(self, call: Call, answer: Answer) -> None:
        """The first of a connection, whose head is not."""
        del call
        answer(Reply(200, BODY))


async def main(port: int, scratch: Path) -> None:
    """Serve for ever."""
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    listening.setblocking(False)
    turn = LoopTurn(Recorder(None, Meters(scratch / "hello.meter")))
    Door(HttpState(Hello(), turn, HttpLimits())).open(listening)  # type: ignore[arg-type]
    await asyncio.Event().wait()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        uvloop.run(main(int(sys.argv[1]), Path(folder)))
