"""The keeper of a sandbox: outside its process namespace and of no package's code, above everything that runs inside.

    control --"fork" + a socket--> keeper --the socket--> template     (and the gate opens once)
    model process, workers: all of them its children: it ends them, and tells how each ended

It dies with its parent (the control socket ends), and what is inside dies with it. Standard library only.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from penstock.runtime.walls import gate, kernel

FORK = b"f"
"""What the parent sends with a worker's socket."""

_TICK_S = 0.1
_AGAIN_S = 0.002
_ORDERED_S = 5.0
_LOG_BYTES = 8192
_READS = 64
_CREDENTIALS = struct.Struct("3i")


class SandboxKeeper:
    """Watches one sandbox.

    Args:
        control: To the parent.
        scratch: What is written below it by a worker goes with the worker.
        threads: How many a process may have.
    """

    def __init__(self, control: socket.socket, scratch: str, threads: int) -> None:
        self._control = control
        self._scratch = scratch
        self._threads = threads
        self._model = self._first = 0
        self._orders: socket.socket | None = None
        self._gate = -1
        self._ordered_until = 0.0
        self._logs: dict[int, bytes] = {}
        self._reasons: dict[int, str] = {}
        self._log, self._written = socket.socketpair()
        # The kernel says who wrote: one log for each process.
        self._log.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._log.setblocking(False)

    def keep(
        self, become_model: Callable[[int, socket.socket | None], NoReturn], channel: int, *, workers: bool, alone: bool
    ) -> None:
        """Start the model process, and watch until it has ended.

        Args:
            become_model: Called in it with where to print, and with the socket for orders; it never returns.
            channel: The model process's, in which this one has no part.
            workers: Whether the parent may order some.
            alone: They have a process namespace: the first process in it must not be one that may start others.
        """
        workers = workers and os.path.exists(_children_file())
        if workers and alone:
            self._start_first()
        mine, theirs = socket.socketpair() if workers else (None, None)
        self._model = os.fork()
        if self._model == 0:
            self._control.close()
            become_model(self._written.fileno(), theirs)
        os.close(channel)
        self._orders = mine
        if mine is not None and theirs is not None:
            theirs.close()
            with suppress(OSError):
                _, found, _, _ = socket.recv_fds(mine, 1, 1)
                self._gate = found[0] if found else -1
        self._watch()

    def _start_first(self) -> None:
        """The process whose end is the end of all others in its namespace; it does nothing but end with this one."""
        self._first = os.fork()
        if self._first == 0:
            with suppress(BaseException):
                os.closerange(0, 65536)
                kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
                while True:
                    signal.pause()
            os._exit(1)

    def _watch(self) -> None:
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(woken, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._log.fileno(), woken):
            poll.register(descriptor, select.POLLIN)
        if self._gate >= 0:
            poll.register(self._gate, select.POLLIN)
        while not self._bury():
            for descriptor, events in poll.poll(_TICK_S * 1000):
                if descriptor == woken:
                    os.read(woken, 4096)
                elif descriptor == self._log.fileno():
                    self._take_down()
                elif descriptor == self._gate:
                    if events & select.POLLIN:
                        gate.answer(self._gate, self._may_start)
                    else:  # nobody is left who could ask
                        poll.unregister(descriptor)
                elif not self._heard():
                    poll.unregister(descriptor)
                    self._end(self._model, "told")
            for process in self._children():
                if process not in self._reasons and _threads(process) > self._threads:
                    self._end(process, "threads")

    # -- orders

    def _heard(self) -> bool:
        """Pass on what the parent orders; False where it is gone, or wants no more."""
        try:
            said, found, _, _ = socket.recv_fds(self._control, 1, 1)
        except OSError:
            return False
        if said == FORK and found and self._orders is not None:
            self._ordered_until = time.monotonic() + _ORDERED_S
            with suppress(OSError):  # it has ended: the socket does, too
                socket.send_fds(self._orders, [FORK], found)
        for descriptor in found:
            os.close(descriptor)
        return said == FORK

    def _may_start(self, process: int) -> bool:
        """One process for each order."""
        ordered = process == self._model and time.monotonic() < self._ordered_until
        self._ordered_until = 0.0
        return ordered

    # -- ends

    def _children(self) -> list[int]:
        """Every process inside; where this kernel does not list them, there is the model's alone."""
        try:
            with open(_children_file(), encoding="ascii") as file:
                return [int(word) for word in file.read().split()]
        except OSError:
            return [self._model]

    def _end(self, process: int, reason: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            self._reasons.setdefault(process, reason)

    def _bury(self) -> bool:
        """Tell of each process that has ended; whether that was all of them.

        Without the model process there is nothing to go on with; it is told of last.
        """
        last: tuple[int, int] | None = None
        while True:
            if last:
                self._end_others()
            try:
                process, status, _ = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if process == self._model:
                last = process, status
            elif process and process != self._first:
                self._tell(process, status)
            elif not process and not last:
                return False
            elif not process:
                time.sleep(_AGAIN_S)
        if last:
            self._tell(*last)
        return True

    def _end_others(self) -> None:
        """Those that are left; the kernel's list may pass one over while others go, so it is asked again and again."""
        for other in {self._first, *self._children()} - {0}:
            self._end(other, "")

    def _tell(self, process: int, status: int) -> None:
        """Say how one ended, and clear up after it."""
        self._take_down()
        report = {
            "pid": process,
            "code": os.waitstatus_to_exitcode(status),
            "reason": self._reasons.pop(process, ""),
            "log": self._logs.pop(process, b"").decode("utf-8", "replace"),
        }
        shutil.rmtree(os.path.join(self._scratch, str(process)), ignore_errors=True)
        data = json.dumps(report).encode()
        with suppress(OSError):  # nobody may be there to hear it
            self._control.sendall(struct.pack("<I", len(data)) + data)

    def _take_down(self) -> None:
        """What was printed since, in steps: whoever prints without end must not keep this from the rest."""
        with suppress(BlockingIOError):
            for _ in range(_READS):
                data, said, _, _ = self._log.recvmsg(65536, socket.CMSG_SPACE(_CREDENTIALS.size))
                process = _CREDENTIALS.unpack(said[0][2])[0] if said else 0
                self._logs[process] = (self._logs.get(process, b"") + data)[-_LOG_BYTES:]


def _children_file() -> str:
    return f"/proc/self/task/{os.getpid()}/children"


def _threads(process: int) -> int:
    """How many threads a process has; 0 when it cannot be told."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError, ValueError):
        return 0
