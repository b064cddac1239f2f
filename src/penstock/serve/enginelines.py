"""Stage 4, serve: what engines did, as lines of a worker's file of counters.

    line = digest of the package (padded) + runs, rows, nanoseconds, last run + requests and where their time went
           + runs and nanoseconds by the size of the run

A run is counted once, however many requests were in it; a request counts the whole of its run, as Triton counts.
Digests and not endpoints: endpoints that share a package share its engine.
"""

from __future__ import annotations

import mmap
import struct
from time import time_ns
from typing import NamedTuple

KEY_BYTES = 96
EXACT_SIZES = 32
"""Runs of up to so many rows are counted by their very size; larger ones by the next power of two."""
_SIZES = EXACT_SIZES + 16
_FIXED = 9
_VALUES = _FIXED + 2 * _SIZES
_LINE = KEY_BYTES + 8 * _VALUES
MOST = 128
BYTES = MOST * _LINE


class EngineSeries:
    """One line of what an engine did, in the mapped file.

    Words: runs, rows, nanoseconds in runs, when it last ran (milliseconds since the epoch); then of single requests:
    their number and nanoseconds of input, queue, infer and output; then runs and nanoseconds by size.
    """

    __slots__ = ("_at", "_values")

    def __init__(self, values: memoryview[int], at: int) -> None:
        self._values = values
        self._at = at

    def ran(self, rows: int, run_ns: int) -> None:
        """Count one run."""
        values, at = self._values, self._at
        values[at] += 1
        values[at + 1] += rows
        values[at + 2] += run_ns
        values[at + 3] = time_ns() // 1_000_000
        at += _FIXED + 2 * (rows - 1 if rows <= EXACT_SIZES else min(26 + (rows - 1).bit_length(), _SIZES - 1))
        values[at] += 1
        values[at + 1] += run_ns

    def asked(self, requests: int, input_ns: int, queue_ns: int, infer_ns: int, output_ns: int) -> None:
        """Count requests that it answered, their nanoseconds summed.

        Args:
            requests: Of one run or of several.
            input_ns: From the last byte to conformed arrays.
            queue_ns: From there to the start of the run.
            infer_ns: In the run: a request counts the whole of the run it was in.
            output_ns: From the run to the answer.
        """
        values, at = self._values, self._at + 4
        values[at] += requests
        values[at + 1] += input_ns
        values[at + 2] += queue_ns
        values[at + 3] += infer_ns
        values[at + 4] += output_ns


class EngineSum(NamedTuple):
    """What an engine did, summed over workers; words as in `EngineSeries`."""

    runs: int
    rows: int
    run_ns: int
    last_ms: int
    requests: int
    input_ns: int
    queue_ns: int
    infer_ns: int
    output_ns: int
    sizes: tuple[int, ...]

    def plus(self, other: EngineSum) -> EngineSum:
        """Both together."""
        sums = [a + b for a, b in zip(self[:-1], other[:-1], strict=True)]
        sums[3] = max(self.last_ms, other.last_ms)
        return EngineSum._make((*sums, tuple(a + b for a, b in zip(self.sizes, other.sizes, strict=True))))

    def by_size(self) -> list[tuple[int, int, int]]:
        """Rows of a run, number of such runs, nanoseconds in them; sizes that there were."""
        pairs = zip(self.sizes[::2], self.sizes[1::2], strict=True)
        return [(size_of(index), runs, run_ns) for index, (runs, run_ns) in enumerate(pairs) if runs]


def size_of(index: int) -> int:
    """Rows of the runs that are counted at a place of `EngineSum.sizes`, the largest of them."""
    return index + 1 if index < EXACT_SIZES else 1 << (index - 26)


def place(start: int, index: int) -> int:
    """Where a line's words are, in words, of lines that begin at byte `start`."""
    return (start + index * _LINE + KEY_BYTES) // 8


def lines(data: mmap.mmap | bytes, start: int, used: int) -> list[tuple[str, EngineSum]]:
    """Digest and words of the lines in use."""
    found: list[tuple[str, EngineSum]] = []
    for index in range(min(used, MOST)):
        at = place(start, index) * 8
        digest = bytes(data[at - KEY_BYTES : at]).rstrip(b"\0").decode("utf-8", "replace")
        words = struct.unpack_from(f"<{_VALUES}q", data, at)
        found.append((digest, EngineSum._make((*words[:_FIXED], words[_FIXED:]))))
    return found
