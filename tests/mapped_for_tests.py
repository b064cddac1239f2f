"""How much of a mapped file is in this process's memory, told by Linux."""

from __future__ import annotations

from pathlib import Path


def held(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    mapped, count = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            mapped = len(rest) > 4 and rest[4] == str(path)
        elif mapped and first == "Rss:":
            count += int(rest[0]) * 1024
    return count


def is_mapped(path: Path) -> bool:
    """Whether this process has the file mapped."""
    return any(line.endswith(f" {path}") for line in Path("/proc/self/maps").read_text().splitlines())
