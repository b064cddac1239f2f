"""Stage 4, serve: worker processes as their supervisor starts, hears and ends them.

    supervisor (one thread, everything imported, no model) --fork--> worker

A fork shares what was imported: a worker costs its own models and little else, and is there in milliseconds. It is
safe here because the supervisor never has a second thread and never opens a model. The child lets go of everything
that is the supervisor's, ends without running the supervisor's exit handlers, and never returns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

from penstock.serve.channel import pair


class Closable(Protocol):
    """Something with descriptors."""

    def close(self) -> None:
        """Let go of them."""


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Child:
    """A worker process as its supervisor sees it.

    Attributes:
        control: Our end of the channel; its end of the stream is the worker's death.
        number: The worker's; 0 for a spare.
        settled: It has tried its first snapshot.
        alive_at: When it was last heard, by `time.monotonic`.
        end_by: When it has to have ended, by the same; 0 while nobody told it to.
    """

    def __init__(self, pid: int, control: socket.socket, *, patience_s: float) -> None:
        self.pid = pid
        self.control = control
        self.number = 0
        self.settled = False
        self.draining = False
        self.alive_at = time.monotonic() + patience_s
        self.end_by = 0.0
        self._ended = False

    def kill(self) -> None:
        """End it at once; it stays ours, and its number nobody else's, until `bury`."""
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        """Wait for its end, once."""
        self.control.close()
        if not self._ended:
            self.kill()
            os.waitpid(self.pid, 0)
            self._ended = True


def fork(work: Callable[[socket.socket], None], *, name: str, patience_s: float, let_go: Iterable[Closable]) -> Child:
    """Start a process that does `work` with its end of a channel, and then ends.

    Args:
        work: What the child does.
        name: What the system's process list calls it, 15 characters at most.
        patience_s: How long it may take until it is first heard.
        let_go: What the child must not hold on to: a sibling would not hear that the supervisor died.
    """
    ours, theirs = pair()
    # A signal between the fork and the child's own handlers would be written to the supervisor's wake-up socket.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid == 0:
        _live(work, theirs, name, (ours, *let_go))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Child(pid, ours, patience_s=patience_s)


def _live(
    work: Callable[[socket.socket], None], control: socket.socket, name: str, let_go: tuple[Closable, ...]
) -> NoReturn:
    """All of the child's life."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            # Ctrl-C reaches the whole group; the supervisor decides what it means.
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
        for held in let_go:
            held.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        _call_itself(name)
        work(control)
        code = 0
    # The end of the process: whatever ends it is told, and nothing of the supervisor's runs after it.
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _call_itself(name: str) -> None:
    """Show a name of its own in the system's process list, where there is such a thing."""
    with contextlib.suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as comm:
        comm.write(name)
