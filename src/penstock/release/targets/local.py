"""This machine: one supervisor and its workers, told by a snapshot file, known by the files they write.

    apply   -> run/snapshot.json (whole or not at all, numbered) -> start `python -m penstock.serve`, or adopt it
    observe <- run/supervisor.json, run/workers/<n>.json

The data plane lives in a session of its own: whoever started it may die and be replaced. Its address is kept in
run/address.json, so that a restart answers where clients already ask.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from penstock.access.files import locked, make_folder, write_whole
from penstock.errors import Conflict, Corrupt, TargetFailed
from penstock.packages.keyring import TRUSTED
from penstock.records import Record, Snapshot, WorkerStatus, decode, encode
from penstock.release.target import TargetStatus, Wish

T = TypeVar("T")
MODULE = "penstock.serve"
PROCESSES = Path("/proc")
START_S = 30.0
STOP_S = 20.0
PAUSE_S = 0.02


class SupervisorNote(Record, frozen=True, kw_only=True):
    """What the supervisor says of itself once its socket listens (run/supervisor.json)."""

    pid: int
    host: str
    port: int
    grpc: int = 0
    workers: int = 1
    started_at: float = 0.0


class Address(Record, frozen=True, kw_only=True):
    """Where the data plane listened last (run/address.json)."""

    host: str
    port: int
    grpc: int = 0


class LocalTarget:
    """The data plane of one home folder.

    Args:
        home: The home folder.
        host: Address to listen on.
        port: 0 takes a free one at the first start and the same one ever after.
        workers: Processes that answer; 0 takes one for each usable processor.
        options: More of the supervisor's own command line.
    """

    def __init__(
        self, home: Path, *, host: str = "127.0.0.1", port: int = 0, workers: int = 0, options: tuple[str, ...] = ()
    ) -> None:
        self._home = home.resolve()
        self._run = self._home / "run"
        self._host = host
        self._port = port
        self._workers = workers
        self._options = options
        self._child: subprocess.Popen[bytes] | None = None

    def apply(self, wish: Wish, *, expect: int | None = None) -> int:
        """Write the snapshot if it differs, and start the supervisor if none runs."""
        try:
            make_folder(self._run)
            with locked(self._run / "snapshot.lock"):
                number = self._write(wish, expect)
                if wish.routes and self._supervisor() is None:
                    self._start()
        except OSError as error:
            raise TargetFailed(
                f"the run folder cannot be written: {error.strerror}", "make space, or give the folder to this user"
            ) from error
        return number

    def observe(self) -> TargetStatus:
        """Read what supervisor and workers last wrote; those who are dead are not believed."""
        snapshot = self._snapshot()
        supervisor = self._supervisor()
        wish = Wish(routes=snapshot.routes, packages=snapshot.packages, grants=snapshot.grants)
        if supervisor is None:
            return TargetStatus(number=snapshot.number, wish=wish)
        workers = self._alive()
        serving = [worker for worker in workers if not worker.draining]
        at_work = len(serving) >= supervisor.workers
        return TargetStatus(
            number=snapshot.number,
            wish=wish,
            running=True,
            ready=_ready(serving),
            failed={digest: why for worker in serving for digest, why in worker.failed.items()},
            settled=at_work and all(worker.snapshot >= snapshot.number for worker in serving),
            workers=tuple(workers),
            url=f"http://{_bracketed(supervisor.host)}:{supervisor.port}",
            grpc=f"{_bracketed(supervisor.host)}:{supervisor.grpc}" if supervisor.grpc else "",
        )

    def remove(self) -> None:
        """Drain and end the supervisor; killed when it has not ended after `STOP_S`."""
        supervisor = self._supervisor()
        if supervisor is None:
            return
        os.kill(supervisor.pid, signal.SIGTERM)
        if not self._until(lambda: self._supervisor() is None, STOP_S):
            os.killpg(supervisor.pid, signal.SIGKILL)
            self._until(lambda: self._supervisor() is None, STOP_S)

    def _write(self, wish: Wish, expect: int | None) -> int:
        """Under the lock; the snapshot's number."""
        before = self._snapshot()
        if expect is not None and before.number != expect:
            raise Conflict(f"the data plane was told otherwise, in snapshot {before.number}", "look again, then decide")
        after = Snapshot(
            number=before.number + 1,
            routes=wish.routes,
            packages=wish.packages,
            grants=wish.grants,
            written_at=time.time(),
        )
        if before.number and (before.routes, before.packages, before.grants) == (
            wish.routes,
            wish.packages,
            wish.grants,
        ):
            return before.number
        write_whole(self._run / "snapshot.json", encode(after))
        return after.number

    def _snapshot(self) -> Snapshot:
        return _read(self._run / "snapshot.json", Snapshot) or Snapshot(number=0)

    def _supervisor(self) -> SupervisorNote | None:
        """The supervisor that runs, if one does; a process that only got its number is not it."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        said = _read(self._run / "supervisor.json", SupervisorNote)
        return said if said is not None and _serves(said.pid, self._run) else None

    def _alive(self) -> list[WorkerStatus]:
        said = [_read(path, WorkerStatus) for path in sorted((self._run / "workers").glob("[0-9]*.json"))]
        return [worker for worker in said if worker is not None and _exists(worker.pid)]

    def _start(self) -> None:
        """Start a supervisor where the last one listened, or anywhere if that place is taken."""
        # Workers of a supervisor that was killed drain by themselves; until then the address is theirs.
        self._until(lambda: not self._alive(), STOP_S)
        for left in (self._run / "workers").glob("[0-9]*.json"):
            left.unlink(missing_ok=True)
        last = _read(self._run / "address.json", Address)
        places = [(self._port, 0)]
        if last and not self._port and last.host == self._host:
            places = [(last.port, last.grpc), (last.port, 0), *places]
        started = next((found for port, grpc in places if (found := self._started(port, grpc)) is not None), None)
        if started is None:
            raise TargetFailed("the data plane did not start", "its log says why: log/serve.log in the home folder")
        write_whole(
            self._run / "address.json", encode(Address(host=started.host, port=started.port, grpc=started.grpc))
        )

    def _started(self, port: int, grpc: int) -> SupervisorNote | None:
        """A new supervisor once its socket listens; None when it ended before."""
        log = self._home / "log"
        make_folder(log / "journal")
        with (log / "serve.log").open("ab") as sink:
            child = subprocess.Popen(
                self._command(port, grpc),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        self._child = child
        self._until(lambda: child.poll() is not None or self._supervisor() is not None, START_S)
        found = self._supervisor()
        if found is None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        return found

    def _command(self, port: int, grpc: int) -> list[str]:
        arguments = {
            "--run-dir": self._run,
            "--log-dir": self._home / "log" / "journal",
            "--environments": self._home / "environments",
            "--host": self._host,
            "--port": port,
            "--grpc-port": grpc,
            "--workers": self._workers,
        }
        command = [sys.executable, "-m", MODULE]
        command += [str(word) for pair in arguments.items() for word in pair]
        keys = self._home / "keys" / TRUSTED
        return [*command, *(("--keys", str(keys)) if keys.exists() else ()), *self._options]

    @staticmethod
    def _until(done: Callable[[], bool], within_s: float) -> bool:
        """Wait for something; whether it came."""
        end = time.monotonic() + within_s
        while not done():
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE_S)
        return True


def _ready(workers: list[WorkerStatus]) -> tuple[str, ...]:
    """What all of them have proven."""
    if not workers:
        return ()
    return tuple(sorted(set.intersection(*(set(worker.ready) for worker in workers))))


def _read(path: Path, kind: type[T]) -> T | None:
    """A file of the run folder; None where it is not there yet, or is being replaced by one who dies."""
    try:
        return decode(path.read_bytes(), kind)
    except (FileNotFoundError, Corrupt):
        return None


def _serves(pid: int, run: Path) -> bool:
    """Whether that process is a supervisor of this run folder."""
    if not _exists(pid):
        return False
    if not PROCESSES.exists():
        return True  # no such view of processes on this system: the number is all there is
    try:
        words = (PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return MODULE.encode() in words and os.fsencode(run) in words


def _exists(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        state = (PROCESSES / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[:1]
    except ProcessLookupError:
        return False
    except OSError:
        return not PROCESSES.exists()
    return state != [b"Z"]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
