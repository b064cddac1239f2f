"""What a logged row costs behind the request path: the journal becomes tables; prints rows, CPU and wall seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from penstock.log.tables import compact


def main(log: Path) -> None:
    """Compact a journal once, all of it."""
    started, cpu = time.perf_counter(), time.process_time()
    done = compact(log)
    if done.damaged:
        sys.exit(f"damaged: {done.damaged}")
    print("RESULT", done.exchanges, time.process_time() - cpu, time.perf_counter() - started)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
