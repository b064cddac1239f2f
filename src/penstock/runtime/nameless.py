"""Files for a library that maps what it is given by path: copies that lose their names once they are mapped.

    folder of this process alone --copied into, mapped by path--> unlinked: whoever may write the original, or the
                                                                  folder of copies, reaches what is mapped no more

Pages of a file that is mapped may be dropped and read again as long as it is mapped: what was verified once would be
whatever the file holds by then. A process that is killed while its copies have names leaves them; the next one that
makes copies takes them away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.errors import NotReady
from penstock.runtime.memory import MEBIBYTE

PREFIX = "penstock-numbers-"
_ROOM_BYTES = 16 * MEBIBYTE
"""What a disk keeps beside the copies."""


@contextmanager
def nameless(need_bytes: int) -> Iterator[Path]:
    """An empty folder for copies; at the end their names are gone, and what was mapped of them stays as it is.

    Args:
        need_bytes: How much is going to be copied.

    Raises:
        NotReady: There is no room for it; code ``runtime.no_room``.
    """
    base = _roomy(need_bytes)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            os.close(held)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_room(need_bytes) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _roomy(need_bytes: int) -> Path:
    """Where files lie that are too large for memory: what is set for it, else what is most likely a disk."""
    said = os.environ.get("TMPDIR", "")
    for place in (said, "/var/tmp", tempfile.gettempdir()):  # noqa: S108
        if place and os.access(place, os.W_OK | os.X_OK):
            room = os.statvfs(place)
            if room.f_bavail * room.f_frsize >= need_bytes + _ROOM_BYTES:
                return Path(place)
    raise _no_room(need_bytes)


def _sweep(base: Path) -> None:
    """Take away what processes left that were killed: nobody holds it any more."""
    for left in base.glob(f"{PREFIX}*"):
        try:
            held = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # somebody else's, or just gone
        try:
            if os.fstat(held).st_uid == os.getuid():
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # it is being filled
        finally:
            os.close(held)


def _no_room(need_bytes: int) -> NotReady:
    return NotReady(
        f"numbers of a graph are copied where nobody else can write, and no folder has {need_bytes / MEBIBYTE:.0f} MiB",
        "make room in /var/tmp, or set TMPDIR to a folder that has it",
        code="runtime.no_room",
    )
