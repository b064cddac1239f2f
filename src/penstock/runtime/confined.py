"""What runs on the other side of the sandbox's walls: the child's own start, standard library only.

    parent --control, channel--> keeper: leaves the namespaces, forks, watches, tells how it ended
                                 `- model process: walls up, says which, waits for "go", then runs the entry

The interpreter was started without ``site``, so nothing that a package installed has run when the walls go
up. The keeper dies with its parent (the control socket ends), the model process with its keeper.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import site
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypedDict

from penstock.errors import PenstockError
from penstock.runtime.walls import kernel, landlock, namespaces, resources, seccomp

CHANNEL = 3
"""File descriptor of the channel in the model process."""

_TICK_S = 0.1
_LOG_BYTES = 8192
# What every Python needs to read, besides its own folders.
_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/urandom",
    "/dev/zero",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/sys/devices/system/cpu",
)


class Order(TypedDict):
    """What the parent asks for; see `penstock.runtime.sandbox`."""

    entry: str
    arguments: object
    read: list[str]
    scratch: str
    site: list[str]
    limits: dict[str, int]
    keep: bool


Entry = Callable[..., object]


def main() -> None:
    """Start as keeper: ``<control fd> <channel fd>`` are the last two arguments."""
    control = socket.socket(fileno=int(sys.argv[-2]))
    channel = int(sys.argv[-1])
    order: Order = json.loads(receive(control.fileno()))
    walls = namespaces.apply(order["scratch"], own_scratch=order["keep"]) if sys.platform == "linux" else {}
    out, log = os.pipe()
    child = os.fork()
    if child == 0:
        control.close()
        os.close(out)
        _become_model(order, channel, log, walls)
    os.close(channel)
    os.close(log)
    report = _watch(child, control, out, order["limits"]["threads"])
    with suppress(OSError):  # nobody may be there to hear it
        send(control.fileno(), json.dumps(report).encode())


def send(descriptor: int, message: bytes) -> None:
    """Write one length-prefixed message."""
    data = memoryview(struct.pack("<I", len(message)) + message)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor: int) -> bytes:
    """Read one length-prefixed message.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = struct.unpack("<I", _exactly(descriptor, 4))
    return _exactly(descriptor, length)


def _exactly(descriptor: int, length: int) -> bytes:
    """That many bytes."""
    parts: list[bytes] = []
    while length:
        part = os.read(descriptor, min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


# -- the keeper ----------------------------------------------------------------------------------


def _watch(child: int, control: socket.socket, out: int, threads: int) -> dict[str, object]:
    """Wait for the model process to end, or end it: when the parent is gone, or it has too many threads."""
    poll = select.poll()
    poll.register(control, select.POLLIN | select.POLLHUP)
    poll.register(out, select.POLLIN)
    log, reason = b"", ""
    while True:
        for descriptor, _ in poll.poll(_TICK_S * 1000):
            if descriptor == control.fileno():
                reason = "told"
                poll.unregister(control)
                continue
            part = os.read(out, 65536)
            log = (log + part)[-_LOG_BYTES:]
            if not part:
                poll.unregister(out)
        if not reason and _threads(child) > threads:
            reason = "threads"
        if reason:
            os.kill(child, signal.SIGKILL)
        ended, status = os.waitpid(child, 0 if reason else os.WNOHANG)
        if ended:
            return _report(status, reason, log + _rest(out))


def _rest(out: int) -> bytes:
    """What the pipe still holds."""
    os.set_blocking(out, False)
    try:
        return os.read(out, 65536)
    except BlockingIOError:
        return b""


def _threads(process: int) -> int:
    """How many threads a process has; 0 when it cannot be told."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[17])
    except (OSError, IndexError, ValueError):
        return 0


def _report(status: int, reason: str, log: bytes) -> dict[str, object]:
    """How the model process ended, as the parent gets it."""
    code = os.waitstatus_to_exitcode(status)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "code": code,
        "reason": reason,
        "log": log[-_LOG_BYTES:].decode("utf-8", "replace"),
        "cpu_s": usage.ru_utime + usage.ru_stime,
    }


# -- the model process ---------------------------------------------------------------------------


def _become_model(order: Order, channel: int, log: int, walls: dict[str, str]) -> None:
    """Put the walls up, say which stand, wait for "go", run the entry, end."""
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(channel, CHANNEL)
        os.closerange(CHANNEL + 1, 65536)
        os.chdir(order["scratch"])
        walls = walls | _raise_walls(order, own_user=walls.get("user") == "")
        with suppress(EOFError):  # the parent changed its mind
            send(CHANNEL, json.dumps({"pid": _outer_pid(), "walls": walls}).encode())
            receive(CHANNEL)
            _run(order)
        sys.stderr.flush()
        os._exit(0)
    except BaseException:
        # It ends in here, where what failed still holds the channel: the parent ends whoever closes that first.
        try:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(1)


def _raise_walls(order: Order, *, own_user: bool) -> dict[str, str]:
    """Put up every wall of this process; each to the empty text, or to why it does not stand."""
    scratch = order["scratch"]
    walls = {"limits": _try(lambda: resources.apply(order["limits"], own_user=own_user))}
    if sys.platform != "linux":
        return walls
    read = [*_SYSTEM, *_interpreter(), f"/proc/{_outer_pid()}", *order["site"], *order["read"]]
    walls["privileges"] = _try(_drop_privileges)
    found: list[int] = []
    walls["files"] = _try(lambda: found.append(landlock.apply(read, [scratch, "/dev/null"])))
    older = "this kernel's Landlock is too old" if found else walls["files"]
    walls["tcp"] = "" if found and found[0] >= 4 else older
    walls["signals"] = "" if found and found[0] >= 6 else older
    walls["calls"] = _try(seccomp.apply)
    return walls


def _drop_privileges() -> None:
    """No way up, no way to be looked into, no life after the keeper's."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.drop_capabilities()


def _outer_pid() -> int:
    """This process's number in the mounted /proc, which a process namespace does not change."""
    try:
        return int(os.readlink("/proc/self"))
    except OSError:
        return os.getpid()


def _try(step: Callable[[], None]) -> str:
    """Empty when the step went well, else why it did not."""
    try:
        step()
    except (OSError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return ""


def _interpreter() -> list[str]:
    """The folders that this Python lives in, and Penstock's own."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    home = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        prefixes.add(home)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [*sorted(prefixes), package, *filter(None, libraries)]


def _run(order: Order) -> None:
    """Run the entry and send what it answers, or how it failed."""
    site.main()
    for folder in order["site"]:
        if folder not in sys.path:
            site.addsitedir(folder)
    if order["keep"]:
        # It speaks for itself, in frames of its own.
        _find(order["entry"])(order["arguments"], order["scratch"], CHANNEL)
        return
    try:
        function = _find(order["entry"])
        answer = json.dumps({"answer": function(order["arguments"], _path(order["scratch"]))})
    except PenstockError as error:
        fields = {"message": error.message, "hint": error.hint, "code": error.code, "where": error.where}
        answer = json.dumps({"refused": type(error).__name__, **fields})
    except MemoryError:
        answer = json.dumps({"failed": "MemoryError", "message": ""})
    except Exception as error:
        sys.excepthook(*sys.exc_info())
        answer = json.dumps({"failed": type(error).__name__, "message": str(error)[:2000]})
    send(CHANNEL, answer.encode())


def _path(scratch: str) -> os.PathLike[str]:
    """The scratch folder as a Path; pathlib costs a start that does not need it some milliseconds."""
    path: os.PathLike[str] = importlib.import_module("pathlib").Path(scratch)
    return path


def _find(entry: str) -> Entry:
    """``module:function`` or ``/path/to/file.py:function``."""
    module, _, name = entry.rpartition(":")
    if not module.endswith(".py"):
        function: Entry = getattr(importlib.import_module(module), name)
        return function
    spec = importlib.util.spec_from_file_location("sandboxed", module)
    if spec is None or spec.loader is None:
        raise ImportError(module)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    function = getattr(loaded, name)
    return function
