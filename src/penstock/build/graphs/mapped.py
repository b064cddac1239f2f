"""Mapped numbers that are let go of while they are used: pages that were read stay with the kernel, not with us.

    with let_go(): session.run(...)
    with let_go(archive): original.answer(...)

A run reads every weight once; without this all of them would count as held until it ends, beside whatever else the
process has. Dropping a page of a file that nobody wrote to changes nothing: it is found again where it was.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from penstock.packages.manifest import is_numbers

_EVERY_S = 0.02
_DONTNEED = 4


@contextmanager
def let_go(*others: Path) -> Iterator[None]:
    """Let go of numbers in the working folder again and again; nothing where there are none.

    Args:
        others: Further files, which are mapped to be read alone.
    """
    ranges = list(_ranges(others)) if sys.platform == "linux" else []
    if not ranges:
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_drop_until, args=(ranges, done), name="let-go", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _drop_until(ranges: Sequence[tuple[int, int]], done: threading.Event) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    ended = False
    while not ended:
        ended = done.wait(_EVERY_S)
        for begin, end in ranges:
            madvise(begin, end - begin, _DONTNEED)


def _ranges(others: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Where files of numbers, and these, are mapped in this process; nobody could have written to them here."""
    if not others and not any(map(is_numbers, os.listdir())):
        return
    named = {str(one.resolve()) for one in others}
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *rest = line.split(maxsplit=5)
        if len(rest) == 5 and (is_numbers(os.path.basename(rest[4])) or rest[4] in named):
            begin, _, end = place.partition("-")
            yield int(begin, 16), int(end, 16)
