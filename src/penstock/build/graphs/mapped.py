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
from functools import cached_property
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

from penstock.packages.manifest import is_numbers
from penstock.runtime.safetensors import widened

_EVERY_S = 0.01
_LOOKED_EVERY = 20
_PIECE_BYTES = 4 << 20
_DONTNEED = 4


@contextmanager
def let_go(*others: Path) -> Iterator[None]:
    """Let go of numbers in the working folder again and again; nothing where there are none.

    Args:
        others: Further files, which are mapped to be read alone.
    """
    if sys.platform != "linux" or not (others or any(map(is_numbers, os.listdir()))):
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_drop_until, args=(others, done), name="let-go", daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


class Widened:
    """Keeps numbers that were made FP32 in a file, mapped from there; in memory what it has no room for.

    Args:
        place: The file, which is made with the first of them.
        most_bytes: How long it may become.
    """

    def __init__(self, place: Path, most_bytes: int) -> None:
        self._place = place
        self._most = most_bytes
        self._end = 0

    @cached_property
    def _whole(self) -> memoryview:
        with self._place.open("xb") as file:
            file.truncate(self._most)
        with self._place.open("rb") as file:
            return memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))

    def __call__(self, data: memoryview, kind: str) -> npt.NDArray[np.float32]:
        """As `penstock.runtime.safetensors.widened`."""
        begin, end = self._end, self._end + 2 * len(data)
        if not begin < end <= self._most:
            return widened(data, kind)
        try:
            whole = self._whole
            with self._place.open("r+b") as file:
                file.seek(begin)
                for at in range(0, len(data), _PIECE_BYTES):
                    file.write(widened(data[at : at + _PIECE_BYTES], kind).data)
        except OSError:  # no room on the disk
            return widened(data, kind)
        self._end = end
        return np.frombuffer(whole[begin:end], np.float32)


def _drop_until(others: Sequence[Path], done: threading.Event) -> None:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
    ranges: list[tuple[int, int]] = []
    ended, passes = False, 0
    while not ended:
        ended = done.wait(_EVERY_S)
        if ended or passes % _LOOKED_EVERY == 0:
            ranges = list(_ranges(others))
        passes += 1
        for begin, end in ranges:
            madvise(begin, end - begin, _DONTNEED)


def _ranges(others: Sequence[Path]) -> Iterator[tuple[int, int]]:
    """Where files of numbers, and these, are mapped in this process; nobody could have written to them here."""
    named = {str(one.resolve()) for one in others}
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, *rest = line.split(maxsplit=5)
        if len(rest) == 5 and (is_numbers(os.path.basename(rest[4])) or rest[4] in named):
            begin, _, end = place.partition("-")
            yield int(begin, 16), int(end, 16)
