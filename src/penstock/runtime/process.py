"""A sandboxed process seen from outside: started, heard within bounds, ended, and asked how it ended.

    parent --control--> keeper     (ends with the parent, tells how the model process ended)
    parent --channel--> model process

What comes from the channel is untrusted: lengths are bounded and every wait has a deadline.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from penstock.errors import ModelFailed
from penstock.runtime.limits import Level

_BEHIND = 5
"""How nice a group of processes is that lets others go first: a third of the share where somebody else wants it."""
_TRIES = 10
_AGAIN_S = 0.1
_SOURCE = Path(__file__).parents[2]
# No site (-S): what installed packages would run at start must not run before the walls stand.
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from penstock.runtime.confined import main; "
    "sys.path.remove(sys.argv[1]); main()"
)


class Ending(msgspec.Struct, frozen=True):
    """How a sandboxed process ended, as its keeper tells.

    Attributes:
        code: Exit status; below zero the signal that ended it.
        reason: ``threads`` (too many), ``told`` (by us), or empty.
        log: The last 8 KiB of what it printed.
        cpu_s: Processor time it took.
    """

    code: int = 0
    reason: str = ""
    log: str = ""
    cpu_s: float = 0.0


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
        self._autogroup = Path(f"/proc/{process.pid}/autogroup")

    def end(self) -> None:
        """Have it ended; whoever waits on the channel hears at once."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)  # the keeper ends the model process on this

    def stand_back(self) -> None:
        """Let every other session of this machine go first until `step_up`, where Linux weighs sessions (autogroup).

        A process's own niceness would not do: nobody but root may take it back.
        """
        with suppress(OSError):
            self._autogroup.write_text(str(_BEHIND))

    def step_up(self) -> None:
        """Take its usual share again."""
        for _ in range(_TRIES):
            try:
                self._autogroup.write_text("0")
            except BlockingIOError:  # the kernel takes ten such words a second from all of us together
                time.sleep(_AGAIN_S)
            except OSError:
                return
            else:
                return

    def close(self) -> Ending:
        """End it if it still runs, and tell how it ended; more than once is harmless."""
        if self._control.fileno() < 0:
            return Ending()
        ending = Ending()
        self.end()
        try:
            self._control.settimeout(5)
            ending = msgspec.json.decode(receive(self._control, 1 << 20), type=Ending)
        except (OSError, EOFError, msgspec.DecodeError):
            self._process.kill()
            ending = Ending(code=self._process.wait(), log="its keeper was killed")
        self.channel.close()
        self._control.close()
        self._process.wait()
        return ending


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
    # Semaphores need /dev/shm, which is outside; joblib then runs in this process, as it should.
    return {**kept, **places, **dict.fromkeys(names, "1"), "JOBLIB_MULTIPROCESSING": "0"}


def died(entry: str, ending: Ending) -> ModelFailed:
    """The error that tells how a sandboxed process ended."""
    log = ending.log[-2000:]
    if ending.reason == "threads":
        return ModelFailed(f"{entry} was ended: it started too many threads", code="runtime.threads")
    if "MemoryError" in log or "bad_alloc" in log or "annot allocate memory" in log:
        return ModelFailed(
            f"{entry} ran out of the sandbox's memory: {log}", "allow it more memory", code="runtime.memory"
        )
    how = f"signal {-ending.code}" if ending.code < 0 else f"exit status {ending.code}"
    return ModelFailed(f"{entry} died in the sandbox ({how}): {log}", code="runtime.died")


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
