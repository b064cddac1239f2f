"""No more memory than there is: what asks this process for more is refused, instead of the process being killed.

    what this process has + what is left of machine and control group -> soft limit on its data, set again and again

A graph of a hundred bytes can ask for a terabyte, and the kernel gives it and then kills who uses it: with him go the
requests of all other models. Source: getrlimit(2), RLIMIT_DATA; proc(5), ``VmData``: private memory that can be
written, which mapped files of the runtime's are among.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.runtime.memory import MEBIBYTE, RESERVE_BYTES, available_bytes

LEAST_BYTES = 256 * MEBIBYTE
"""So much may always be asked for: threads ask for stacks that they never use, and what is left is told late."""

_STATUS = Path("/proc/self/status")


class Ceiling:
    """This process's limit; one object for all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mapped = 0

    def settle(self) -> None:
        """Set the limit by what is left now; nothing where this system does not say."""
        with self._lock, suppress(OSError, ValueError):
            has, left = _data_bytes(), available_bytes()
            if has and left is not None:
                most = has + max(left - RESERVE_BYTES, LEAST_BYTES) + self._mapped
                _, hard = resource.getrlimit(resource.RLIMIT_DATA)
                resource.setrlimit(
                    resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
                )

    @contextmanager
    def while_loading(self, mapped_bytes: int) -> Iterator[None]:
        """Settled, with room for files of so many bytes that are mapped and are no memory."""
        with self._lock:
            self._mapped += mapped_bytes
        try:
            self.settle()
            yield
        finally:
            with self._lock:
                self._mapped -= mapped_bytes


def _data_bytes() -> int:
    """What of this process the limit counts; 0 where that cannot be told."""
    for line in _STATUS.read_bytes().splitlines():
        if line.startswith(b"VmData:"):
            return int(line.split()[1]) * 1024
    return 0
