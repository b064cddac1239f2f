"""How many processors this process may really use: what the scheduler lets it have, not what the machine has.

    affinity mask + cgroup quota (v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``), the tightest on the way up -> a number

A container with a quota of two processors on a machine of 64 that starts 64 threads is stopped by the kernel for most
of every period: thread and process counts follow this number instead.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst ("CPU Interface Files") and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

MOST_WORKERS = 8
"""Workers by default, at most: beyond it memory is the dearer thing, and somebody should have measured."""
_CONTROLLERS = Path("sys/fs/cgroup")
_V1 = ("cpu,cpuacct", "cpuacct,cpu", "cpu")
_Reader = Callable[[Path], "float | None"]


def usable_cpus(root: Path = Path("/")) -> int:
    """Whole processors for this process, at least 1; a part of one is left out, because using it means being stopped.

    Args:
        root: Where ``proc`` and ``sys`` are; the machine's own but in tests.
    """
    quota = cpu_quota(root)
    allowed = _affinity()
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def default_workers(root: Path = Path("/")) -> int:
    """Workers of a data plane that nobody gave a number or tuned."""
    return min(usable_cpus(root), MOST_WORKERS)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors that the control groups grant, the tightest of this process's group and those above it.

    Returns:
        None where no quota is set, or this system has no control groups.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    found = [quota for line in groups for quota in _of_group(root, line)]
    return min(found, default=None)


def _affinity() -> int:
    """Processors the scheduler may put this process on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def _of_group(root: Path, line: str) -> Iterator[float]:
    """The quotas of one line of ``/proc/self/cgroup``: ``number:controllers:path``."""
    _, _, rest = line.partition(":")
    controllers, _, path = rest.partition(":")
    if not controllers:
        yield from _found(root / _CONTROLLERS, path, _v2)
    elif "cpu" in controllers.split(","):
        for name in _V1:
            yield from _found(root / _CONTROLLERS / name, path, _v1)


def _found(top: Path, path: str, read: _Reader) -> Iterator[float]:
    """From the group up to the top; in a container the path may be the host's, and then only the top is there."""
    here = Path(path.lstrip("/"))
    for part in (here, *here.parents):
        quota = None if ".." in part.parts else read(top / part)
        if quota is not None:
            yield quota


def _v2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _v1(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """``max``, -1 and what is no number are no quota."""
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
