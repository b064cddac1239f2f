"""No more memory than there is: what asks this process for more is refused, instead of the process being killed.

    what this process has + what is left of machine and control group -> soft limit on its data, set again and again

A graph of a hundred bytes can ask for a terabyte, and the kernel gives it and then kills who uses it: with him go the
requests of all other models. Source: getrlimit(2), RLIMIT_DATA; proc(5), ``statm``: private memory that can be
written, which files are among that the runtime mapped.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from penstock.runtime.memory import MEBIBYTE, RESERVE_BYTES, available_bytes

LEAST_BYTES = 256 * MEBIBYTE
"""So much may always be asked for: threads ask for stacks that they never use, and what is left is told late."""

EVERY_S = 2.0
"""How often it is settled: asking takes half a millisecond of processor time."""

_STATM = Path("/proc/self/statm")
_DATA = 5


class Ceiling:
    """This process's limit; one object for all of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mapped = 0

    def follow(self) -> None:
        """Settle it again and again on a thread of its own, as long as this process lives."""
        threading.Thread(target=self._follow, name="ceiling", daemon=True).start()

    def settle(self) -> None:
        """Set the limit by what is left now; nothing where this system does not say."""
        with self._lock, suppress(OSError, ValueError, IndexError):
            has, left = _data_bytes(), available_bytes()
            if has and left is not None:
                most = has + max(left - RESERVE_BYTES, LEAST_BYTES) + self._mapped
                _, hard = resource.getrlimit(resource.RLIMIT_DATA)
                resource.setrlimit(
                    resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
                )

    def _follow(self) -> None:
        while True:
            self.settle()
            time.sleep(EVERY_S)

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
    with _STATM.open("rb") as file:
        return int(file.read().split()[_DATA]) * resource.getpagesize()
