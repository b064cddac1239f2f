"""How much memory this process may still take, and how much a process has taken.

    /proc/meminfo + control groups (v2 memory.max, v1 memory.limit_in_bytes), the tightest on the way up -> bytes

What a control group holds as file cache that it may drop at once (inactive) counts as free, as the kernel counts it.
Source: the kernel's Documentation/admin-guide/cgroup-v2.rst ("Memory"), cgroup-v1/memory.rst, filesystems/proc.rst.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from penstock.errors import NotReady

MEBIBYTE = 1 << 20
RESERVE_BYTES = 64 * MEBIBYTE
"""What has to stay free for everything else."""
NO_MEMORY = re.compile(r"[Ff]ailed to allocate memory|bad_alloc|bad allocation|would require more than \d+ bytes")
"""How ONNX Runtime says that there is too little, deep in messages that begin with its own source."""

_CONTROLLERS = Path("sys/fs/cgroup")
_NO_LIMIT = 1 << 60
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class _Names(NamedTuple):
    """The files of one version of control groups."""

    limit: str
    usage: str
    inactive: bytes


_V2 = _Names("memory.max", "memory.current", b"inactive_file")
_V1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")


def available_bytes(root: Path = Path("/")) -> int | None:
    """What may still be taken before this machine, or a control group above this process, has none.

    Args:
        root: Where ``proc`` and ``sys`` are; the machine's own but in tests.

    Returns:
        None where this system does not say.
    """
    found = list(_of_groups(root))
    machine = _field(root / "proc/meminfo", b"MemAvailable:")
    if machine is not None:
        found.append(machine * 1024)
    return max(min(found), 0) if found else None


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 where that cannot be told."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def unshared_bytes(pid: int, origin: int) -> int:
    """The most that a process which was forked from another can hold for itself alone; 0 where that cannot be told.

    Each page that it no longer shares cost it a fault; what came since, it has more of than its origin.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            faults = int(file.read().rpartition(b")")[2].split()[7])
    except (OSError, IndexError, ValueError):
        return 0
    resident = resident_bytes(pid)
    return min(resident, faults * _PAGE + max(resident - resident_bytes(origin), 0))


def require(need_bytes: int, what: str, *, known: bool, available: int | None = None) -> None:
    """Hold a need against what is left.

    Args:
        need_bytes: Of memory, beside `RESERVE_BYTES`.
        what: A model's name, for the message.
        known: It was measured; else it is the least it can be.
        available: As `available_bytes` says; asked for where it is not given.

    Raises:
        NotReady: It does not fit; code ``runtime.memory``.
    """
    left = available_bytes() if available is None else available
    if left is None or need_bytes + RESERVE_BYTES <= left:
        return
    need = f"{'needs' if known else 'needs at least'} {need_bytes / MEBIBYTE:.0f} MiB"
    raise NotReady(
        f"{what} {need} of memory and {max(left - RESERVE_BYTES, 0) / MEBIBYTE:.0f} MiB are left for it",
        "give the data plane more memory, fewer workers, or fewer models",
        code="runtime.memory",
    )


def _of_groups(root: Path) -> Iterator[int]:
    """What each control group above this process has left."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            yield from _upward(root / _CONTROLLERS, path, _V2)
        elif "memory" in controllers.split(","):
            yield from _upward(root / _CONTROLLERS / "memory", path, _V1)


def _upward(mount: Path, path: str, names: _Names) -> Iterator[int]:
    """What a group and those above it have left; inside a container its own group may be the mount itself."""
    folder = mount / path.lstrip("/")
    if not folder.is_dir():
        folder = mount
    for group in (folder, *folder.parents):
        limit, usage = _number(group / names.limit), _number(group / names.usage)
        if limit is not None and usage is not None and limit < _NO_LIMIT:
            yield limit - usage + (_field(group / "memory.stat", names.inactive) or 0)
        if group == mount:
            return


def _number(path: Path) -> int | None:
    """A file's one number; None where it has none, as in ``max``."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None


def _field(path: Path, name: bytes) -> int | None:
    """The number behind a name in a file of ``name number`` lines."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return None
