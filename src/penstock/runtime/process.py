"""A sandboxed process seen from outside: started, heard within bounds, ended, and asked how it ended.

    parent --control--> keeper     (ends with the parent, orders workers, tells how each process ended)
    parent --channel--> model process
    parent --channel--> worker     (forked from it, where the model process is a template)

What comes from a channel is untrusted: lengths are bounded and every wait has a deadline.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from penstock.errors import ModelFailed
from penstock.runtime.keeper import FORK
from penstock.runtime.limits import Level

_ENDING_S = 5.0
_CREDENTIALS = struct.Struct("3i")
_SOURCE = Path(__file__).parents[2]
# No site (-S): what installed packages would run at start must not run before the walls stand.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from penstock.runtime.confined import main; "
    "sys.path.remove(sys.argv[1]); main()"
)


class Ending(msgspec.Struct, frozen=True):
    """How a sandboxed process ended, as its keeper tells.

    Attributes:
        pid: The process.
        code: Exit status; below zero the signal that ended it.
        reason: ``threads`` (too many), ``told`` (by us), or empty.
        log: The last 8 KiB of what it printed.
    """

    pid: int = 0
    code: int = 0
    reason: str = ""
    log: str = ""


_UNKNOWN = Ending(code=-signal.SIGKILL, log="its keeper was killed")


class Hello(msgspec.Struct, frozen=True):
    """What the model process says before it loads anything: who it is, and which walls stand."""

    pid: int
    walls: dict[str, str]


class Confined:
    """A running sandboxed process, seen from outside.

    Attributes:
        channel: The socket to it; its bytes are not to be trusted.
        level: Which walls stand around it.
        pid: Of the model process, once it has said so; 0 before.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket, channel: socket.socket) -> None:
        self.channel = channel
        self.pid = 0
        self.level = Level({})
        self._process = process
        self._control = control
        self._lock = Lock()
        self._endings: dict[int, Ending] = {}

    def fork(self) -> Forked:
        """Order a worker from a template.

        Raises:
            OSError: It is gone.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            try:
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                socket.send_fds(self._control, [FORK], [theirs.fileno()])
            except OSError:
                mine.close()
                raise
        return Forked(self, mine)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(OSError):
            os.kill(self.pid, number)

    def end(self) -> None:
        """Have it ended; whoever waits on the channel hears at once."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)  # the keeper ends the model process on this

    def ending_of(self, pid: int) -> Ending:
        """Wait until a worker has ended, and tell how."""
        with self._lock:
            deadline = time.monotonic() + _ENDING_S
            with suppress(OSError, EOFError, ValueError, RecursionError):
                while pid not in self._endings and self._control.fileno() >= 0:
                    self._next_ending(deadline)
            return self._endings.pop(pid, _UNKNOWN)

    def close(self) -> Ending:
        """End it, and its workers, if they still run, and tell how it ended; more than once is harmless."""
        with self._lock:
            if self._control.fileno() < 0:
                return Ending()
            self.end()
            ending = _UNKNOWN
            try:
                deadline = time.monotonic() + _ENDING_S
                while True:  # the last to be told of is the model process
                    ending = self._next_ending(deadline)
            except EOFError:
                pass
            except (OSError, ValueError, RecursionError):
                self._process.kill()
            self.channel.close()
            self._control.close()
            self._process.wait()
            return ending

    def _next_ending(self, deadline: float) -> Ending:
        ending = msgspec.json.decode(receive(self._control, 1 << 20, deadline=deadline), type=Ending)
        self._endings[ending.pid] = ending
        return ending


class Forked:
    """A worker that was forked from a template, seen from outside; the attributes are those of `Confined`."""

    def __init__(self, template: Confined, channel: socket.socket) -> None:
        self.channel = channel
        self.pid = 0
        self.level = template.level
        self._template = template
        self._pidfd = -1

    def know(self, deadline: float) -> None:
        """Wait until it has spoken, and learn from the kernel who it is: what it says itself is not to be trusted.

        Raises:
            EOFError: It is gone; OSError says the same.
            TimeoutError: The deadline (``time.monotonic``) passed.
        """
        self.channel.settimeout(max(deadline - time.monotonic(), 1e-3))
        data, said, _, _ = self.channel.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_PEEK)
        if not data or not said:
            raise EOFError
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        self.pid = _CREDENTIALS.unpack(said[0][2])[0]
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise EOFError from None

    def signal(self, number: int) -> None:
        """Send it a signal; once it has ended, nobody."""
        if self._pidfd >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._pidfd, number)

    def end(self) -> None:
        """Have it ended; whoever waits on the channel hears at once."""
        self.signal(signal.SIGKILL)

    def close(self) -> Ending:
        """End it if it still runs, and tell how it ended; more than once is harmless."""
        if self.channel.fileno() < 0:
            return Ending()
        self.end()  # before its socket ends, of which it might end by itself
        self.channel.close()
        if self._pidfd < 0:
            return _UNKNOWN
        os.close(self._pidfd)
        self._pidfd = -1
        return self._template.ending_of(self.pid)


def spawn(python: Path, folder: str, order: bytes) -> Confined:
    """A fresh interpreter with two sockets and nothing else of ours."""
    control, far_control = socket.socketpair()
    channel, far_channel = socket.socketpair()
    descriptors = far_control.fileno(), far_channel.fileno()
    command = [str(python), "-I", "-S", "-B", "-X", "utf8", "-c", _BOOT, str(_SOURCE), *map(str, descriptors)]
    with far_control, far_channel:
        process = subprocess.Popen(
            command,
            pass_fds=descriptors,
            env=_environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    confined = Confined(process, control, channel)
    control.sendall(struct.pack("<I", len(order)) + order)
    return confined


def _environment(folder: str) -> dict[str, str]:
    """All of the child's environment: no secret, one thread, temporary files in the scratch folder."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TZ") if name in os.environ}
    places = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": folder, "TMPDIR": folder}
    # Semaphores need /dev/shm, which is outside; joblib then runs in this process, as it should. pyarrow's allocator
    # starts a thread when it is imported, and a process with threads cannot be forked.
    quiet = {"JOBLIB_MULTIPROCESSING": "0", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    return {**kept, **places, **dict.fromkeys(names, "1"), **quiet}


def died(entry: str, ending: Ending) -> ModelFailed:
    """The error that tells how a sandboxed process ended."""
    log = ending.log[-2000:]
    if ending.reason == "threads":
        what = f"{entry} was ended: it started too many threads"
        return ModelFailed(what, "have it start fewer", code="runtime.threads")
    if "MemoryError" in log or "bad_alloc" in log or "annot allocate memory" in log:
        return ModelFailed(
            f"{entry} ran out of the sandbox's memory: {log}", "allow it more memory", code="runtime.memory"
        )
    how = f"signal {-ending.code}" if ending.code < 0 else f"exit status {ending.code}"
    hint = "something that it calls ended its process: exit(), or a library that crashed"
    return ModelFailed(f"{entry} died in the sandbox ({how}): {log}", hint, code="runtime.died")


def receive(channel: socket.socket, most: int, *, deadline: float | None = None) -> bytes:
    """Read one length-prefixed message of at most `most` bytes.

    Raises:
        EOFError: The other side is gone, or says it has more than `most`.
        TimeoutError: The deadline (``time.monotonic``) or the socket's timeout passed.
    """
    (length,) = struct.unpack("<I", exactly(channel, 4, deadline))
    if length > most:
        raise EOFError
    return bytes(exactly(channel, length, deadline))


def exactly(channel: socket.socket, length: int, deadline: float | None) -> bytearray:
    """That many bytes; errors as `receive`."""
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        count = channel.recv_into(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return data
