"""Stage 4, serve: every answer into the inference log, off the request's way.

    capture -> msgpack frame (here, run by run: a thread that encodes in bulk would stall the loop)
             -> one write per loop turn, before the turn's answers leave -> fsync on a thread, a second later

A killed worker therefore loses no row of a request that was answered. A disk that fails loses rows, which are
counted, and predictions go on. An endpoint with ``log: strict`` is answered after the fsync, or refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock.log.captures import Capture, pieces
from penstock.log.journal import Journal, frame
from penstock.serve.meters import Meters

SYNC_S = 1.0


class Recorder:
    """Writes what this worker answered.

    Args:
        journal: Where they go; None records nothing.
        meters: Where losses are counted.
    """

    def __init__(self, journal: Journal | None, meters: Meters) -> None:
        self._journal = journal
        self._meters = meters
        self._pieces: list[bytes] = []
        self._requests = 0
        self._strict: list[Callable[[bool], None]] = []
        self._syncing = False
        self._due: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "fsync")

    def record(self, capture: Capture) -> None:
        """Take one run's requests; they are written at the latest when the turn ends."""
        if self._journal is None:
            return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._take(capture)

    def record_now(self, payload: Sequence[bytes], requests: int) -> None:
        """Take one run's requests and write them, with what else the turn has so far.

        Args:
            payload: The pieces of their capture.
            requests: How many they are.
        """
        if self._pieces:
            self.flush()
        if self._journal is not None:
            self._write(self._journal, frame(*payload), requests)

    def when_durable(self, answer: Callable[[bool], None]) -> None:
        """Call back when everything recorded so far is on disk (True), or is known to be lost (False)."""
        if self._journal is None:
            answer(False)
        else:
            self._strict.append(answer)

    def flush(self) -> None:
        """One write for the turn."""
        if self._pieces and self._journal is not None:
            pieces, self._pieces = self._pieces, []
            requests, self._requests = self._requests, 0
            self._write(self._journal, pieces, requests)
        if self._strict and not self._syncing:
            self._sync()

    def close(self) -> None:
        """Write and sync what is left."""
        self.flush()
        if self._due is not None:
            self._due.cancel()
        self._thread.shutdown(wait=True)
        if self._journal is not None:
            try:
                self._journal.close()
            except OSError:
                self._meters.sync_failed()

    def _take(self, capture: Capture) -> None:
        self._pieces += frame(*pieces(capture))
        self._requests += len(capture.ids)

    def _write(self, journal: Journal, pieces: Sequence[bytes], requests: int) -> None:
        """One write; what the disk does not take is counted."""
        try:
            journal.write(pieces)
        except OSError:
            self._meters.lost(requests)
            strict, self._strict = self._strict, []
            for answer in strict:
                answer(False)
            return
        if self._due is None:
            self._due = self._loop.call_later(SYNC_S, self._sync_what_is_due)

    def _sync_what_is_due(self) -> None:
        """Sync what was written in the last second; while nobody asks, nothing wakes up for it."""
        self._due = None
        if self._syncing:
            self._due = self._loop.call_later(SYNC_S, self._sync_what_is_due)
        elif self._journal is not None and self._journal.dirty:
            self._sync()

    def _sync(self) -> None:
        waiting, self._strict = self._strict, []
        self._syncing = True
        future = self._loop.run_in_executor(self._thread, self._sync_on_thread)
        future.add_done_callback(lambda ended: self._synced(waiting, durable=ended.result()))

    def _sync_on_thread(self) -> bool:
        try:
            if self._journal is not None:
                self._journal.sync()
        except OSError:
            self._meters.sync_failed()
            return False
        return True

    def _synced(self, waiting: list[Callable[[bool], None]], *, durable: bool) -> None:
        self._syncing = False
        for answer in waiting:
            answer(durable)
        if self._strict:
            self._sync()
