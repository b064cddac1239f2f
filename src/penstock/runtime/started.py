"""When a process started, as the kernel knows it.

Comes in: a process id. Goes out: seconds since the epoch. Source: filesystems/proc.rst, ``/proc/<pid>/stat`` field 22
(clock ticks after boot) and ``btime`` of ``/proc/stat``.
"""

from __future__ import annotations

import os
from pathlib import Path


def started_at(pid: int) -> float:
    """Seconds since the epoch; 0 where that cannot be told."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError, StopIteration):
        return 0.0
