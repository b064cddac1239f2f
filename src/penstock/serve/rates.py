"""Stage 4, serve: how often a subject may ask, counted exactly over all workers.

    (subject, rate, burst) --take--> nothing, or Overloaded with the time to wait

A token bucket as one number (the generic cell rate algorithm, ITU-T I.371): when the bucket would be full again.
That number lies in a file that all workers map, under a lock of that file, so that what one worker grants the
others know, and neither a reload nor a worker's death forgets it. Times are `time.monotonic`, one clock for all
processes of a machine.
"""

from __future__ import annotations

import fcntl
import logging
import math
import mmap
import os
import struct
import tempfile
import time
from hashlib import blake2b
from pathlib import Path

from penstock.errors import Overloaded
from penstock.records import Grant

_SLOTS = 1 << 14
_SLOT = struct.Struct("<16sd")
_BYTES = _SLOTS * _SLOT.size
_PROBES = 64
_NOTHING_S = 1e-9
_LOG = logging.getLogger("penstock.serve")


class Rates:
    """The buckets of all subjects that have a limit.

    Args:
        path: The file; made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = _opened(path)
        self._map = mmap.mmap(self._descriptor, _BYTES)
        self._keys: dict[str, bytes] = {}

    def take(self, grant: Grant) -> None:
        """One request of a subject.

        Args:
            grant: With a rate.

        Raises:
            Overloaded: It asks too often; code ``serve.rate``.
        """
        key = self._keys.get(grant.subject)
        if key is None:
            key = self._keys[grant.subject] = blake2b(grant.subject.encode(), digest_size=16).digest()
        first = int.from_bytes(key[:4], "little") % _SLOTS
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1)
        try:
            wait_s = self._take(key, first, grant)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1)
        if wait_s:
            error = Overloaded(
                f"you may ask {grant.rate_per_s:g} times a second", "wait, or ask for more", code="serve.rate"
            )
            error.retry_after_s = max(1, math.ceil(wait_s))
            raise error

    def close(self) -> None:
        """Let go of the file; what it says stays."""
        self._map.close()
        os.close(self._descriptor)

    def _take(self, key: bytes, first: int, grant: Grant) -> float:
        """Take one from the bucket; how long to wait where it is empty."""
        now = time.monotonic()
        every = 1.0 / grant.rate_per_s
        room = max(grant.burst - 1, 0) * every
        at, full_at = self._find(key, first, now)
        # Further off than an empty bucket can be: of another burst, or of a clock before the machine's last start.
        full_at = min(max(full_at, now), now + room + every)
        wait_s = full_at - now - room
        given = wait_s <= _NOTHING_S
        _SLOT.pack_into(self._map, at, key, full_at + every if given else full_at)
        return 0.0 if given else wait_s

    def _find(self, key: bytes, first: int, now: float) -> tuple[int, float]:
        """Where a subject's bucket is, and when it is full; else where it may be: a place of a bucket that is full.

        Raises:
            Overloaded: There are too many limited subjects at one time.
        """
        free = -1
        for probe in range(_PROBES):
            at = (first + probe) % _SLOTS * _SLOT.size
            owner, full_at = _SLOT.unpack_from(self._map, at)
            if owner == key:
                return at, full_at
            if free < 0 and full_at <= now:
                free = at
            if not any(owner):
                break
        if free < 0:
            raise Overloaded("too many callers have a limit of their own", "ask again in a second", code="serve.rate")
        return free, now


def _opened(path: Path) -> int:
    """A descriptor of the file, all of it on the disk; where the disk does not take it, of this worker's own file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _fill(descriptor)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        _LOG.error("rates are counted by each worker alone: %s cannot be written: %s", path.name, error.strerror)
        with tempfile.TemporaryFile() as own:
            descriptor = os.dup(own.fileno())
        os.ftruncate(descriptor, _BYTES)
    return descriptor


def _fill(descriptor: int) -> None:
    if os.fstat(descriptor).st_size != _BYTES:
        os.ftruncate(descriptor, _BYTES)
    if hasattr(os, "posix_fallocate"):
        # A page that the disk has no room for later would be the end of whoever counts in it.
        os.posix_fallocate(descriptor, 0, _BYTES)
