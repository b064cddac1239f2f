"""Mapped numbers of a graph that are let go of while it runs: pages that were read stay with the kernel, not with us.

    with let_go(): session.run(...)

A run reads every weight once; without this all of them would count as held until it ends, beside whatever else the
process has. Dropping a page of a file that nobody wrote to changes nothing: it is found again where it was.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.packages.manifest import is_numbers

_EVERY_S = 0.02
_DONTNEED = 4


@contextmanager
def let_go() -> Iterator[None]:
    """Let go of numbers in the working folder again and again; nothing where there are none."""
    if sys.platform != "linux" or not any(map(is_numbers, os.listdir())):
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_drop_until, args=(done,), name="let-go", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _drop_until(done: threading.Event) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    ranges = list(_ranges())
    while True:
        for begin, end in ranges:
            madvise(begin, end - begin, _DONTNEED)
        if done.wait(_EVERY_S):
            return


def _ranges() -> Iterator[tuple[int, int]]:
    """Where files of numbers are mapped in this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *rest = line.split(maxsplit=5)
        if len(rest) == 5 and is_numbers(os.path.basename(rest[4])):
            begin, _, end = place.partition("-")
            yield int(begin, 16), int(end, 16)
