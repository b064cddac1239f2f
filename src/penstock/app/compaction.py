"""Beside the turns: journals become tables every few seconds, and segments that are in the tables whole give way.

    journal/*.wal -> compact -> tables -> prune (a day after the last write)

A thread of its own does it, never two at once, and no turn waits for it. What the control plane holds in memory
(watchers, monitors, guards) is rebuilt from the journals after a restart: rows older than the prune horizon are only
in the tables then, so monitors start afresh from what the journals still hold, while joins and training see it all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from penstock.log.tables import KEEP_S, compact, prune

EVERY_S = 10.0
STOP_S = 15.0
log = logging.getLogger("penstock.compaction")


class Compaction:
    """The compactions of one home.

    Args:
        place: ``HOME/log``.
        every_s: From the start of one to the start of the next.
        keep_s: Age at which a segment that is in the tables whole is removed.
        held: Segments that somebody still reads, by name.
    """

    def __init__(
        self,
        place: Path,
        *,
        every_s: float = EVERY_S,
        keep_s: float = KEEP_S,
        held: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._place = place
        self._held = held
        self._every_s = every_s
        self._keep_s = keep_s
        self._began_at = time.monotonic()
        self._running: threading.Thread | None = None
        self._told: dict[str, str] = {}

    def turn(self) -> None:
        """Begin a compaction if it is time and none runs; returns at once."""
        if self._is_running() or time.monotonic() - self._began_at < self._every_s:
            return
        self._began_at = time.monotonic()
        self._running = threading.Thread(target=self._run, name="compaction", daemon=True)
        self._running.start()

    def finish(self) -> None:
        """Wait for the one that runs, and do a last one; a later start would do what is left undone."""
        if self._running is not None:
            self._running.join(STOP_S)
        if not self._is_running():
            self._run()

    def _is_running(self) -> bool:
        return self._running is not None and self._running.is_alive()

    def _run(self) -> None:
        """One compaction; what fails is told to the log and done again the next time."""
        try:
            damaged = compact(self._place).damaged
            for path in prune(self._place, keep_s=self._keep_s, held=self._held()):
                log.info("%s is in the tables whole and was removed", path.name)
        except Exception:
            log.exception("a compaction failed; the next one starts where the last good one ended")
            return
        for name, why in damaged.items():
            if self._told.get(name) != why:
                log.error("a segment cannot be read on: %s", why)
        self._told = damaged
