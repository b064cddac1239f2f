"""The journal of outcomes: the truth about predictions, durable before it is acknowledged.

Comes in: outcomes as callers report them. Goes out: frames in ``outcomes/*.wal``, fsynced.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from penstock.errors import Unready
from penstock.log.journal import Journal, frame
from penstock.log.tail import payload
from penstock.records import Outcome


class OutcomeLog:
    """Writes outcomes to this process's own segments.

    Args:
        folder: ``HOME/log/outcomes``.
        writer: Who writes; with the process id it is unique among living writers.
    """

    def __init__(self, folder: Path, writer: str = "outcomes") -> None:
        self._journal = Journal(folder, f"{writer}-{os.getpid()}")
        self._lock = threading.Lock()

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write and fsync; one call for many is much cheaper than many.

        Raises:
            Unready: The disk does not take them; none is acknowledged, send them again.
        """
        if not outcomes:
            return
        pieces = [piece for outcome in outcomes for piece in frame(payload(outcome))]
        with self._lock:
            try:
                self._journal.write(pieces)
                self._journal.sync()
            except OSError as error:
                raise Unready("the outcomes could not be stored", "send them again", code="log.disk") from error

    def close(self) -> None:
        """Let the segment go."""
        with self._lock:
            self._journal.close()
