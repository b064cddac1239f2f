"""How a model process that has loaded becomes a template: on each order, a worker is forked from it.

    keeper --order, socket--> template -- fork --> worker: its own folder, socket, filter, randomness; it answers
                                 `- stays as it is, and answers nobody

What a fork would break (threads, files that are held open) is a reason not to: the template says so at the socket that
it was handed, and its parent lets it answer itself. Standard library only.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from penstock.runtime.walls import gate, kernel, landlock, resources, seccomp

CHANNEL, ORDERS = 3, 4
"""File descriptors in the model process: of the channel, and of what the keeper orders from a template."""

TREE = 4
"""Times the threads of one process that a template and its workers may have together."""

_SIBLING = 0x8000
"""CLONE_PARENT: the worker is the keeper's child, not the template's."""
_OTHERS = 4
"""Processes that the kernel counts beside a worker's own threads: keeper, template, and the first in its namespace."""


class Orders:
    """What the keeper orders from a template.

    Args:
        scratch: Where each worker gets a folder of its own.
        read: What it may read.
        threads: How many a worker may have.
    """

    def __init__(self, scratch: str, read: list[str], threads: int) -> None:
        self._scratch = scratch
        self._read = read
        self._threads = threads
        self._keeper = os.getppid()
        self._socket = socket.socket(fileno=ORDERS)

    def wait(self, channel: socket.socket, excuse: Callable[[socket.socket, str], None]) -> socket.socket | None:
        """Fork on each order, until there is something at the channel.

        Args:
            channel: The template's own.
            excuse: Is called with a worker's socket and why there will be none.

        Returns:
            None in the template, where the channel can be read; in a new worker its own channel.
        """
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(self._socket, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if channel.fileno() in ready:
                return None
            why = _unfit()
            said, found, _, _ = socket.recv_fds(self._socket, 1, 1)
            if not said:
                _end(0)
            theirs = socket.socket(fileno=found[0])
            try:
                if not why and not gate.start_process(_SIBLING | signal.SIGCHLD):
                    return self._begin(channel, theirs)
            except OSError as error:
                why = str(error)
            if why:
                excuse(theirs, why)
            theirs.close()

    def _begin(self, channel: socket.socket, mine: socket.socket) -> socket.socket:
        """In the worker: leave the template's things alone, and close what was open for its sake."""
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self._keeper:
                _end(1)
            channel.close()
            self._socket.close()
            os.dup2(mine.fileno(), CHANNEL)
            mine.close()
            folder = os.path.join(self._scratch, str(kernel.outer_pid()))
            os.mkdir(folder, 0o700)
            os.chdir(folder)
            os.environ["HOME"] = os.environ["TMPDIR"] = folder
            if "tempfile" in sys.modules:
                vars(sys.modules["tempfile"])["tempdir"] = None
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()
            resources.fewer_threads(self._threads + _OTHERS)
            if _has_landlock():
                landlock.apply(self._read, [folder, "/dev/null"])
            seccomp.apply()
            return socket.socket(fileno=CHANNEL)
        except BaseException:
            # Nothing above may go on in here: it is the template's.
            sys.excepthook(*sys.exc_info())
            _end(1)


def _unfit() -> str:
    """Why a copy of this process would not be whole; empty where it would."""
    try:
        if len(os.listdir("/proc/self/task")) > 1:
            return "it started threads"
        held = {int(name) for name in os.listdir("/proc/self/fd")} - set(range(ORDERS + 1))
    except OSError as error:
        return str(error)
    # One of them is the listing's own.
    return "it holds files open" if len(held) > 1 else ""


def _has_landlock() -> bool:
    try:
        return landlock.version() > 0
    except OSError:
        return False


def _end(code: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(code)
