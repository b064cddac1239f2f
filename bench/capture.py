"""Is everything logged, and what does it cost behind the path: a paced load, then the journal read whole.

5,000 rows/s for a minute -> journal -> rows there against rows answered -> tables, CPU a row
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.load import Plan, generate
from bench.places import LIMITS
from bench.running import Figures, Running
from bench.witness import Witness
from penstock.log.tail import Tail
from penstock.records import Exchange

RATE = 5000.0
CONNECTIONS = 64


def measure_capture(running: Running, traffic_name: str, log: Path, *, seconds: float) -> Figures:
    """Load at `RATE`, wait for the rest, count what was logged.

    Returns:
        ``lost``: rows answered and not logged; ``behind_us``: CPU a row of bringing them into the tables.

    Raises:
        RuntimeError: The journal is damaged, or the load was slower than it had to be.
    """
    traffic, server = running.traffic(traffic_name), running.server
    tail = Tail(log / "journal", Exchange)
    tail.read()
    # A connection rests, then waits for about a millisecond.
    plan = Plan(CONNECTIONS, seconds, running.pinned, pause_ms=int(1000 * CONNECTIONS / RATE) - 1)
    with Witness(server.port, traffic, pinned=running.pinned) as witness:
        load = generate(server.port, traffic, plan, log.parent)
    if load.answered / load.seconds < RATE:
        raise RuntimeError(f"only {load.answered / load.seconds:.0f} rows a second: this machine is busy")
    running.stop()
    logged = len(tail.read())
    if tail.damaged:
        raise RuntimeError(f"the journal is damaged: {tail.damaged}")
    answered = load.answered + witness.checked
    return {
        "per_s": load.answered / load.seconds,
        "answered": answered,
        "logged": logged,
        "lost": max(answered - logged, 0),
        "behind_us": _behind_us(log),
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "failed": load.failed,
        "wrong": len(witness.faults),
        "checked": witness.checked,
    }


def _behind_us(log: Path) -> float:
    command = [sys.executable, str(LIMITS / "behind.py"), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    numbers = done.stdout.partition("RESULT ")[2].split()
    if len(numbers) != 3:
        raise RuntimeError(done.stderr.strip()[-400:])
    rows, cpu_s, _ = map(float, numbers)
    return cpu_s / rows * 1e6
