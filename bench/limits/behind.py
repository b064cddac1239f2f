"""What a logged row costs behind the request path: the journal becomes tables; prints rows, CPU and wall seconds.

Whoever compacts does so again and again for as long as it lives: what its libraries load at their first use is no cost
of a row, so one row comes before those that count.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.log.journal import Journal
from penstock.log.tables import compact
from penstock.log.tail import payload
from penstock.records import Exchange

ONE = Exchange("a", "e", 1, "m", 1, "stable", 1.0, "a", 1.0, 1.0, 0.1, "ok", 1, {"X": [[1.0]]}, {"y": [1]})


def warm() -> None:
    """Compact a journal of one row."""
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal", "worker-1")
        journal.append(payload(ONE))
        journal.close()
        compact(Path(folder))


def main(log: Path) -> None:
    """Compact a journal once, all of it."""
    warm()
    started, cpu = time.perf_counter(), time.process_time()
    done = compact(log)
    if done.damaged:
        sys.exit(f"damaged: {done.damaged}")
    print("RESULT", done.exchanges, time.process_time() - cpu, time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
