"""An engine on a thread of its own, so that health checks and deadlines stay true while it runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from penstock.runtime.engine import Engine, Interruptible
from penstock.serve.lane import Result
from penstock.serve.pace import Pace
from penstock.serve.queued import BatchRun, QueuedLane


class ThreadLane(QueuedLane):
    """Runs one batch after the other on its thread."""

    def __init__(self, engine: Engine, *, batchable: bool, pace: Pace) -> None:
        super().__init__(engine, batchable=batchable, pace=pace)
        self._thread = ThreadPoolExecutor(1, "engine")

    def _start(self, run: BatchRun) -> None:
        future = self._loop.run_in_executor(self._thread, self.runner.run, run.jobs)

        def ended(done: asyncio.Future[list[Result]]) -> None:
            self._ended(run, done.result())

        future.add_done_callback(ended)

    def _abandon(self, run: BatchRun) -> None:
        """Nobody waits for this run any more: who waits for the thread need not wait for its end."""
        if isinstance(self.engine, Interruptible):
            self.engine.abandon()

    def _stop(self) -> None:
        if self._close_engine:
            self._thread.submit(self.engine.close)
        self._thread.shutdown(wait=False)
