"""Stage 4, serve: an event loop on a thread of its own, for callers that wait on theirs.

    call (any thread) -> Flow, in the loop -> ... end of the turn: the log's one write -> reply (the caller's thread)

A body that comes in parts is put together first: whoever waits here takes one answer.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from penstock.errors import DeadlineExceeded
from penstock.log.journal import Journal
from penstock.packages.read import Package
from penstock.records import Snapshot
from penstock.runtime.engine import Engine
from penstock.serve.board import Board
from penstock.serve.calls import Call, Parts, Reply
from penstock.serve.flow import Flow
from penstock.serve.lane import Job, open_lane
from penstock.serve.metered import metered
from penstock.serve.meters import Meters
from penstock.serve.models import Model
from penstock.serve.pace import Pace
from penstock.serve.protocol import ServingProtocol
from penstock.serve.recorder import Recorder
from penstock.serve.refusals import refuse
from penstock.serve.turn import LoopTurn
from penstock.serve.visit import Desk
from penstock.tensors import Arrays

_NAME = "handler"
_CLOSE_S = 5.0


class Opened(NamedTuple):
    """A proven package; `background` is what answers are explained against."""

    package: Package
    engine: Engine
    pace: Pace
    background: Arrays


class AnswerLoop:
    """The data plane of one process, without a door.

    Args:
        opened: What answers.
        snapshot: All traffic to it.
        protocols: The dialects, in order.
        log: Folder of the inference journal; None records nothing.

    Attributes:
        process: Its id; in a forked one nothing of this may be used.

    Raises:
        OSError: There is no place for temporary files.
    """

    def __init__(
        self, opened: Opened, snapshot: Snapshot, protocols: Iterable[ServingProtocol], log: Path | None
    ) -> None:
        self.process = os.getpid()
        self._scratch = Path(tempfile.mkdtemp(prefix="penstock-"))
        self._loop = asyncio.new_event_loop()
        # What numpy does with numbers too large for their type goes by context, and calls bring their thread's.
        self._context = contextvars.copy_context()
        self._context.run(np.seterr, over="ignore", invalid="ignore")
        self._thread = threading.Thread(target=self._loop.run_forever, name=_NAME, daemon=True)
        self._thread.start()
        atexit.register(self._clean)
        opening = asyncio.run_coroutine_threadsafe(self._open(opened, snapshot, protocols, log), self._loop)
        try:
            self._flow, self._turn, self._model = opening.result()
        except BaseException:
            self._end()
            raise

    def ask(self, call: Call, within_s: float) -> Reply:
        """Answer a call, waiting for it here.

        Args:
            call: Of whoever waits.
            within_s: For so long at most; 0 means as long as it takes.
        """
        asked = _Asked(self._flow, self._turn, call)
        self._loop.call_soon_threadsafe(asked.start, context=self._context.copy())
        try:
            return asked.reply.result(within_s or None)
        except TimeoutError:
            # The run itself may go on: whoever waits must be told within their time.
            self._loop.call_soon_threadsafe(asked.cancel)
            return refuse(
                DeadlineExceeded("the time budget of the request ran out", "give it more, or ask again later")
            )

    def close(self) -> None:
        """Finish what was recorded, and end the loop; the engine is closed by its lane."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CLOSE_S)
        self._end()

    async def _open(
        self, opened: Opened, snapshot: Snapshot, protocols: Iterable[ServingProtocol], log: Path | None
    ) -> tuple[Flow, LoopTurn, Model]:
        """Everything that belongs to the event loop."""
        meters = Meters(self._scratch / "meters" / f"{_NAME}.meter")
        recorder = Recorder(Journal(log, f"{_NAME}-{self.process}") if log else None, meters)
        engine = metered(opened.engine)
        digest, manifest = opened.package.digest, opened.package.manifest
        engine.series = meters.engine(digest)
        model = Model(digest, manifest, open_lane(engine, manifest.signature, pace=opened.pace), engine)
        model.background = opened.background
        board = Board(loopback=True)
        board.announce(snapshot)
        board.move(board.lay(snapshot, {digest: model}), snapshot.number)
        board.settled = True
        return Flow(board, Desk(recorder, meters), protocols), LoopTurn(recorder), model

    async def _close(self) -> None:
        self._model.close()
        self._flow.desk.recorder.close()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()
        atexit.unregister(self._clean)
        self._clean()

    def _clean(self) -> None:
        """Remove the folder of counters, unless it is another process's."""
        if self.process == os.getpid():
            shutil.rmtree(self._scratch, ignore_errors=True)


class _Asked:
    """One call on its way.

    Attributes:
        reply: Set at the end of a turn, when the turn's log is written.
    """

    def __init__(self, flow: Flow, turn: LoopTurn, call: Call) -> None:
        self.reply: Future[Reply] = Future()
        self._flow = flow
        self._turn = turn
        self._call = call
        self._job: Job | None = None
        self._answer: Reply | None = None
        self._gone = False

    def start(self) -> None:
        """Hand it to the flow."""
        if not self._gone:
            self._job = self._flow.handle(self._call, self._answered)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._gone = True
        if self._job is not None:
            self._job.cancel()

    def send(self) -> None:
        """See `penstock.serve.turn.Outbox`."""
        if self._answer is not None:
            self.reply.set_result(self._answer)

    def _answered(self, reply: Reply) -> None:
        if reply.parts is None:
            self._whole(reply)
        else:
            _Together(reply, reply.parts, self._whole)

    def _whole(self, reply: Reply) -> None:
        self._answer = reply
        self._turn.add(self)


class _Together:
    """A body that comes in parts, put together."""

    def __init__(self, reply: Reply, parts: Parts, whole: Callable[[Reply], None]) -> None:
        self._reply = reply
        self._parts = parts
        self._whole = whole
        self._data: list[bytes] = []
        self._ended = False
        parts.begun = True
        parts.attach(self._heard)
        self._heard()

    def _heard(self) -> None:
        if self._ended:
            return
        data, self._ended = self._parts.read()
        self._data.append(data)
        if self._ended:
            self._whole(msgspec.structs.replace(self._reply, body=b"".join(self._data), parts=None))
