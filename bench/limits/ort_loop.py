"""Limit line: one ONNX Runtime call after another on different rows, no server; prints calls, CPU and wall seconds."""

from __future__ import annotations

import sys
import time

import numpy as np
from session import open_session

CHUNK = 512
"""Calls between two looks at the clock."""


def main(rows_file: str, seconds: float) -> None:
    """Call for so long."""
    session = open_session()
    name = session.get_inputs()[0].name
    rows = [row[None] for row in np.load(rows_file).astype(np.float32)]
    calls, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        for row in rows[:CHUNK]:
            session.run(None, {name: row})
        calls += len(rows[:CHUNK])
        rows = rows[CHUNK:] + rows[:CHUNK]
    print("RESULT", calls, time.process_time() - cpu, time.perf_counter() - started)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
