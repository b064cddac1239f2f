"""Stage 4, serve: the snapshot file as a worker follows it.

The control plane replaces ``snapshot.json`` atomically; a worker looks every few milliseconds whether it is another
file. ``applied.json`` is the last one a worker could apply whole: a worker that starts while the newest one names a
broken package answers by it, as its siblings still do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

import msgspec

from penstock.errors import Corrupt
from penstock.records import Sizing, Snapshot, decode, encode

_LOG = logging.getLogger("penstock.serve")
FILE = "snapshot.json"
APPLIED = "applied.json"


class SnapshotFile:
    """Follows the file in a run folder."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._applied = run / APPLIED
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> Snapshot | None:
        """The snapshot, if the file is another one than at the last look and can be read."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return None
            snapshot = decode(self._path.read_bytes(), Snapshot)
        except (OSError, Corrupt):
            # Not there yet, or not written atomically: the next look sees it whole.
            return None
        self._seen = seen
        return snapshot

    def applied(self) -> Snapshot | None:
        """The last one that was applied whole by any worker."""
        try:
            return decode(self._applied.read_bytes(), Snapshot)
        except (OSError, Corrupt):
            return None

    def keep(self, snapshot: Snapshot) -> None:
        """Remember it as applied, without the grants: who may do what is never taken from an old one."""
        known = self.applied()
        if known is None or known.number < snapshot.number:
            bare = Snapshot(number=snapshot.number, routes=snapshot.routes, packages=snapshot.packages)
            leave_word(self._applied, encode(bare))


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step, so that a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def leave_word(path: Path, data: bytes, *, again: bool = False) -> bool:
    """`write_whole` for what others only read: a disk that is full or read-only must not cost anybody an answer.

    Args:
        path: The file.
        data: All of it.
        again: It failed before; nobody needs to be told once more.

    Returns:
        Whether it is written.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        _LOG.log(logging.DEBUG if again else logging.WARNING, "%s cannot be written: %s", path.name, error.strerror)
        return False
    return True


def without(snapshot: Snapshot, endpoints: Set[str]) -> Snapshot:
    """The snapshot without some endpoints' routes."""
    routes = tuple(route for route in snapshot.routes if route.endpoint not in endpoints)
    return msgspec.structs.replace(snapshot, routes=routes)


def needed_by(snapshot: Snapshot | None) -> set[str]:
    """Digests that its routes answer with."""
    return {one.digest for route in snapshot.routes for one in route.variants} if snapshot else set()


def sizings_of(snapshot: Snapshot) -> dict[str, Sizing]:
    """How each model is opened, by digest, as the first route that has it says; how many workers do so is apart."""
    sizings: dict[str, Sizing] = {}
    for route in snapshot.routes:
        for one in route.variants:
            sizings.setdefault(one.digest, msgspec.structs.replace(route.limits.sizing, workers=0))
    return sizings


def warm_of(snapshot: Snapshot | None) -> set[str]:
    """Digests that it may be switched to next."""
    return {digest for route in snapshot.routes for digest in route.warm} if snapshot else set()
