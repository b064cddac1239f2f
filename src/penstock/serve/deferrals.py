"""Stage 4, serve: predictions that were accepted and are answered later, as files that all workers share.

    accept --synced--> ID.call --claim (a lock on the file)--> run --synced--> ID.reply --> whoever asks for it
                                `-- the process dies: the lock is free, another worker claims it

A call is on the disk before it is acknowledged, and its reply before the call goes: a crash at any point repeats a run
at most, and loses none. What ended its process `TRIES` times is not run again.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from penstock.access.files import TEMPORARY, make_folder, sync_folder, write_new, write_whole
from penstock.errors import Corrupt, NotFound, Overloaded
from penstock.records import Record, decode, encode

FORMAT = 1
TRIES = 3
MOST_WAITING = 10_000
MOST_BYTES = 1 << 30
"""What may wait; beyond it nothing more is accepted."""
MOST_KEPT_BYTES = 4 << 30
"""Of replies that nobody has removed."""
_COUNT_S = 5.0
"""How long replies that were counted count."""
KEEP_S = 86_400.0
"""How long a reply can be fetched, and a call waits for its endpoint at most."""
_ID_BYTES = 16

State = Literal["waiting", "running", "done"]


class Deferral(Record, frozen=True, kw_only=True):
    """A call that is answered later.

    Attributes:
        owner: Who asked; empty for nobody in particular.
        accepted_at: Seconds since the epoch.
    """

    id: str
    owner: str
    method: str
    path: str
    headers: dict[str, bytes]
    body: bytes
    accepted_at: float
    format: int = FORMAT


class DeferredReply(Record, frozen=True, kw_only=True):
    """What came of it."""

    id: str
    owner: str
    status: int
    body: bytes
    content_type: bytes
    headers: bytes
    accepted_at: float
    ended_at: float
    format: int = FORMAT


class Claim:
    """The right to run one call, until it is released or this process ends.

    Attributes:
        deferral: What is to be run.
        tries: Which try this is, from 1.
    """

    def __init__(self, deferral: Deferral, descriptor: int, tries: int) -> None:
        self.deferral = deferral
        self.tries = tries
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another worker have it; twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Deferrals:
    """The folder.

    Args:
        folder: Made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        self._kept = 0
        self._counted_at = 0.0

    def accept(self, deferral: Deferral) -> None:
        """Have it on the disk.

        Raises:
            Overloaded: Too much waits already.
            OSError: The disk is full, or fails.
        """
        waiting = self._files(".call")
        size = sum(found.st_size for _, found in waiting)
        if len(waiting) >= MOST_WAITING or size + len(deferral.body) > MOST_BYTES:
            raise Overloaded("too many accepted requests wait already", "ask again later")
        if time.monotonic() > self._counted_at + _COUNT_S:
            self._kept = sum(found.st_size for _, found in self._files(".reply"))
            self._counted_at = time.monotonic()
        if self._kept > MOST_KEPT_BYTES:
            raise Overloaded("too many replies are kept already", "fetch and remove those of before")
        write_new(self._path(deferral.id, "call"), encode(deferral))
        sync_folder(self._folder)

    def claims(self) -> Iterator[Claim]:
        """What nobody runs, the oldest first; each is this process's own until it is released or finished."""
        found = sorted((entry.st_mtime_ns, name) for name, entry in self._files(".call"))
        for _, name in found:
            claim = self._claim(name.removesuffix(".call"))
            if claim is not None:
                yield claim

    def finish(self, claim: Claim, reply: DeferredReply) -> None:
        """Keep what came of it.

        Raises:
            OSError: The disk is full, or fails: the call stays, and is run again.
        """
        if self._path(reply.id, "call").exists():
            write_whole(self._path(reply.id, "reply"), encode(reply))
            sync_folder(self._folder)
        self._remove(reply.id, "call", "tries")
        claim.release()

    def reply(self, own_id: str, owner: str) -> DeferredReply | None:
        """What came of it; None where it is not answered yet.

        Raises:
            NotFound: There is none of that id, or it is somebody else's.
        """
        if len(own_id) != 2 * _ID_BYTES or not own_id.isalnum():
            raise _unknown()
        for _ in range(2):  # it may be answered between the two looks
            with suppress(FileNotFoundError, Corrupt):
                return _owned(decode(self._path(own_id, "reply").read_bytes(), DeferredReply), owner)
            with suppress(FileNotFoundError, Corrupt):
                _owned(decode(self._path(own_id, "call").read_bytes(), Deferral), owner)
                return None
        raise _unknown()

    def state(self, own_id: str) -> State:
        """How far it is, of one that is there."""
        if self._path(own_id, "reply").exists():
            return "done"
        try:
            return "running" if self._path(own_id, "tries").stat().st_size else "waiting"
        except FileNotFoundError:
            return "waiting"

    def forget(self, own_id: str) -> None:
        """Remove it; a run that is under way goes on, and its outcome is dropped."""
        self._remove(own_id, "call", "tries", "reply")

    def sweep(self) -> None:
        """Remove replies that were kept long enough, and what a process that ended in between left."""
        oldest = time.time() - KEEP_S
        for name, found in self._files(".reply", ".tries", begin=TEMPORARY):
            with suppress(FileNotFoundError):
                if found.st_mtime < oldest:
                    (self._folder / name).unlink()

    def put_back(self, claim: Claim) -> None:
        """It could not be run now, through no fault of its own: this try does not count."""
        with suppress(FileNotFoundError):
            os.truncate(self._path(claim.deferral.id, "tries"), claim.tries - 1)
        claim.release()

    def _claim(self, own_id: str) -> Claim | None:
        try:
            descriptor = os.open(self._path(own_id, "call"), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have finished it between our look and our lock.
            deferral = decode(self._path(own_id, "call").read_bytes(), Deferral)
            with self._path(own_id, "tries").open("ab") as tries:
                tries.write(b".")
                tries.flush()
                return Claim(deferral, descriptor, tries.tell())
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return None
        except Corrupt:
            os.close(descriptor)
            self._remove(own_id, "call", "tries")
            return None
        except OSError:
            os.close(descriptor)  # or nobody could claim it before this process ends
            raise

    def _files(self, *suffixes: str, begin: str = "") -> list[tuple[str, os.stat_result]]:
        """Names with these ends, or this beginning, that are still there."""
        found: list[tuple[str, os.stat_result]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffixes) or (begin and entry.name.startswith(begin)):
                    with suppress(FileNotFoundError):  # other workers finish what they run
                        found.append((entry.name, entry.stat()))
        return found

    def _path(self, own_id: str, kind: str) -> Path:
        return self._folder / f"{own_id}.{kind}"

    def _remove(self, own_id: str, *kinds: str) -> None:
        for kind in kinds:
            with suppress(FileNotFoundError):
                self._path(own_id, kind).unlink()


def new_id() -> str:
    """An id that nobody guesses."""
    return secrets.token_hex(_ID_BYTES)


def _owned(found: DeferredReply | Deferral, owner: str) -> DeferredReply | None:
    if found.owner and found.owner != owner:
        raise _unknown()
    return found if isinstance(found, DeferredReply) else None


def _unknown() -> NotFound:
    return NotFound("there is no such job", "replies are kept for a day", code="serve.no_job")
