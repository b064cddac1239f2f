"""Stage 4, serve: the process that holds the listening sockets and keeps workers behind them.

    sockets (here) --fork--> worker 1 .. n, processes that accept from them
                        `--> spare: loaded and proven, promoted the moment a worker dies
    snapshot file --replaced--> workers are nudged

A worker's death refuses nobody: the sockets are not its own. A worker whose loop is stuck is killed and replaced.
SIGTERM drains, a second one ends; SIGHUP replaces the workers one by one.
"""

from __future__ import annotations

import fcntl
import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from penstock.errors import Corrupt
from penstock.records import Snapshot, decode
from penstock.serve.channel import Message, hear, say
from penstock.serve.children import Child, fork
from penstock.serve.meters import forget_gauges
from penstock.serve.snapshots import FILE, leave_word
from penstock.serve.sockets import Sockets

FOLLOWED = (FILE, "resting.json")
"""What workers follow in the run folder."""
LOOK_S = 0.5
"""How often it looks at those files by itself: a revoked token has a second to be known everywhere."""
LOOK_OFTEN_S = 0.1
"""The same where the system cannot tell that a file was replaced."""
TIDY_S = 0.5
START_S = 60.0

Work = Callable[[Sockets, socket.socket], None]
"""What a worker does all its life, with the listening sockets and its end of the channel."""


class SupervisorOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a data plane runs.

    Attributes:
        run: Folder of snapshot, status and counters.
        watchdog_s: A worker whose loop did not turn for so long is replaced.
        grace_s: A drain ends after so long, whatever is still held.
    """

    run: str
    workers: int = 2
    spares: int = 1
    watchdog_s: float = 10.0
    grace_s: float = 30.0


class Supervisor:
    """Holds the sockets, keeps the workers.

    Args:
        options: How it runs.
        sockets: The bound ones.
        work: What a worker does.
    """

    def __init__(self, options: SupervisorOptions, sockets: Sockets, work: Work) -> None:
        self._options = options
        self._sockets = sockets
        self._work = work
        self._run = Path(options.run)
        self._followed = tuple(str(self._run / name) for name in FOLLOWED)
        self._workers = options.workers
        self._started_at = time.time()
        self._seen: tuple[tuple[int, int], ...] = ()
        self._children: list[Child] = []
        self._to_replace: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._ever_settled = False
        self._failures = 0
        self._not_before = 0.0
        self._ending_at = 0.0
        self._tidy_at = 0.0

    def run(self) -> None:
        """Until it is told to end and the last worker has."""
        wake = self._catch_signals()
        self._announce()
        # It stays open, and so do the notices.
        notices = told_of_changes(self._run)
        look_s = LOOK_OFTEN_S if notices is None else LOOK_S
        # What lives now lives as long as we do: untouched by the collector, its pages stay shared with every worker.
        gc.freeze()
        gc.enable()
        self._look()
        self._balance()
        while self._children or not self._ending_at:
            heard = self._selector.select(look_s)
            for key, _ in heard:
                if key.fileobj is wake:
                    self._wake(wake)
                else:
                    self._hear(key.data)
            self._look()
            if heard or time.monotonic() >= self._tidy_at:
                self._tidy_at = time.monotonic() + TIDY_S
                self._watch()
                self._balance()
        with suppress(OSError):
            (self._run / "supervisor.json").unlink(missing_ok=True)

    # -- what happens

    def _catch_signals(self) -> socket.socket:
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        self._wires = (wake, woken)
        signal.set_wakeup_fd(woken.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO):
            signal.signal(number, lambda *_: None)
        self._selector.register(wake, selectors.EVENT_READ)
        return wake

    def _wake(self, wake: socket.socket) -> None:
        for number in wake.recv(64):
            if number == signal.SIGHUP:
                self._to_replace = [child for child in self._children if child.number and not child.draining]
            elif number == signal.SIGIO:
                continue  # a file was replaced: who wakes up looks anyway
            elif self._ending_at:
                self._kill_all()
            else:
                self._end()

    def _end(self) -> None:
        """Let every worker finish what it holds."""
        self._ending_at = time.monotonic() + self._options.grace_s
        for child in self._children:
            child.draining = True
            say(child.control, Message("drain"))

    def _hear(self, child: Child) -> None:
        heard = hear(child.control)
        if heard is None:
            self._bury(child)
            return
        for message in heard:
            child.alive_at = time.monotonic()
            if message.what == "settled":
                child.settled = True
                self._ever_settled |= child.number > 0
                self._failures = 0

    def _bury(self, child: Child) -> None:
        """A worker is dead: remove its traces; `_balance` replaces it."""
        self._selector.unregister(child.control)
        child.bury()
        self._children.remove(child)
        self._to_replace = [other for other in self._to_replace if other is not child]
        if child.number:
            # On a disk that may not be written its traces stay; who reads them asks whether the process is alive.
            with suppress(OSError):
                (self._run / "workers" / f"{child.number}.json").unlink(missing_ok=True)
            with suppress(OSError):
                forget_gauges(self._run / "meters" / f"worker-{child.number}.meter")
        if not child.settled and not child.draining:
            self._failures += 1
            self._not_before = time.monotonic() + min(0.1 * 2**self._failures, 5.0)

    def _look(self) -> None:
        """Nudge the workers when a file they follow is another: one process looks often, so that the rest need not."""
        seen = tuple(map(_stamp, self._followed))
        if seen != self._seen:
            self._seen = seen
            self._resize()
            for child in self._children:
                say(child.control, Message("look"))

    def _resize(self) -> None:
        """Keep as many workers as the snapshot's endpoints were tuned to, or as many as the settings say."""
        try:
            snapshot = decode((self._run / FILE).read_bytes(), Snapshot)
        except (OSError, Corrupt):
            return
        tuned = max((route.limits.sizing.workers for route in snapshot.routes), default=0)
        wanted = tuned or self._options.workers
        if wanted != self._workers:
            self._workers = wanted
            self._tell()

    def _watch(self) -> None:
        """Kill what hangs; its death is then heard like any other."""
        now = time.monotonic()
        for child in self._children:
            if now - child.alive_at > self._options.watchdog_s or (child.end_by and now > child.end_by):
                child.kill()
        if self._ending_at and now > self._ending_at:
            self._kill_all()

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()

    # -- what should be

    def _balance(self) -> None:
        """As many serving workers as wanted, then the spare; then the next of a rolling restart."""
        if self._ending_at:
            return
        self._spawn_missing()
        serving = [child for child in self._children if child.number and not child.draining]
        spares = [child for child in self._children if not child.number]
        spares.sort(key=lambda child: not child.settled)
        # Until one is proven it alone answers: nobody whom it told that it is ready may meet one that still loads.
        wanted = self._workers if self._ever_settled else 1
        for child in spares[: max(wanted - len(serving), 0)]:
            self._promote(child)
            serving.append(child)
        for child in sorted(serving, key=lambda child: child.number)[self._workers :]:
            self._retire(child)
        ready = [child for child in spares if not child.number and child.settled]
        if self._to_replace and ready:
            old = self._to_replace.pop(0)
            self._promote(ready[0])
            self._retire(old)

    def _spawn_missing(self) -> None:
        if time.monotonic() < self._not_before:
            return
        here = [child for child in self._children if not child.draining]
        wanted = self._workers
        # A spare competes for the processor with workers that are still starting: it comes after them.
        ready = len(here) >= wanted and all(child.settled for child in here[:wanted])
        if ready and (self._options.spares or self._to_replace):
            wanted += 1
        for _ in range(wanted - len(here)):
            self._spawn()

    def _retire(self, child: Child) -> None:
        """Let a worker finish, while others go on."""
        child.draining = True
        child.end_by = time.monotonic() + self._options.grace_s
        say(child.control, Message("drain", rolling=True))

    def _promote(self, child: Child) -> None:
        """Give a worker the smallest free number and let it accept."""
        taken = {other.number for other in self._children}
        child.number = next(number for number in range(1, len(taken) + 2) if number not in taken)
        say(child.control, Message("serve", number=child.number, now=not self._ever_settled))
        self._ever_settled |= child.settled

    def _spawn(self) -> Child:
        child = fork(
            lambda control: self._work(self._sockets, control),
            name="penstock-worker",
            patience_s=START_S,
            let_go=(self._selector, *self._wires, *(other.control for other in self._children)),
        )
        self._children.append(child)
        self._selector.register(child.control, selectors.EVENT_READ, child)
        return child

    def _announce(self) -> None:
        """Tell where the socket listens, and forget the workers of a supervisor before us."""
        for left in (self._run / "workers").glob("*.json"):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        self._tell()

    def _tell(self) -> None:
        """Who we are, where we listen, and how many workers there should be."""
        record = {
            "pid": os.getpid(),
            **self._sockets.places(),
            "workers": self._workers,
            "started_at": self._started_at,
        }
        leave_word(self._run / "supervisor.json", msgspec.json.encode(record))


def told_of_changes(folder: Path) -> int | None:
    """Ask for a SIGIO whenever a file of the folder is replaced. Source: fcntl(2), F_NOTIFY.

    Returns:
        The descriptor whose closing ends it; None where this system or file system does not tell.
    """
    if not hasattr(fcntl, "F_NOTIFY"):
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(descriptor, fcntl.F_NOTIFY, fcntl.DN_CREATE | fcntl.DN_RENAME | fcntl.DN_MULTISHOT)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _stamp(file: str) -> tuple[int, int]:
    """What differs between a file and the one that replaces it; zeros where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
