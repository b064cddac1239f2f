"""How far the sandbox is, told while it works: it notes which step it has ended, and the files that it makes grow.

What comes in: the scratch folder. What goes out: words of our own; nothing that the sandbox wrote is ever shown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.build.request import Progress
from penstock.build.strides import STRIDE_BYTES, megabytes
from penstock.errors import Untrusted
from penstock.packages.manifest import is_numbers
from penstock.packages.tree import read_bytes

STEP = "step"
"""The file with the name of the step that was ended last."""

_AFTER = {
    "audit": "loading it",
    "load": "asking it what it takes",
    "transforms": "asking it what it takes",
    "signature": "asking it for answers",
    "answers": "compiling and comparing it",
    "compile": "asking it for the reference's answers",
}
_EVERY_S = 0.5


@contextmanager
def headway(scratch: Path, size: int, progress: Progress) -> Iterator[None]:
    """Tell how far a sandboxed examination is, from a thread of its own.

    Args:
        scratch: Where it writes.
        size: Of the model, in bytes; what is set apart of it is told in parts.
        progress: Told each change.
    """
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(scratch, size, progress, ended), name="headway", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def note(scratch: Path, step: str) -> None:
    """In the sandbox: a step has ended."""
    (scratch / STEP).write_text(step)


def _watch(scratch: Path, size: int, progress: Progress, ended: threading.Event) -> None:
    last = ""
    while not ended.wait(_EVERY_S):
        now = _now(scratch, size)
        if now and now != last:
            progress(f"in the sandbox: {now}")
            last = now


def _now(scratch: Path, size: int) -> str:
    """What it does, in words; empty where that cannot be told."""
    try:
        step = read_bytes(scratch, STEP, limit=64).decode(errors="replace")
    except Untrusted:
        return ""
    try:
        apart = sum(one.stat().st_size for one in scratch.iterdir() if is_numbers(one.name))
    except OSError:
        apart = 0
    if step == "audit" and apart:
        done = apart // STRIDE_BYTES * STRIDE_BYTES
        return f"setting its numbers apart, {done / 1e6:,.0f} of {megabytes(size)}"
    return _AFTER.get(step, "")
