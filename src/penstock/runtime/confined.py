"""What runs on the other side of the sandbox's walls: the child's own start, standard library only.

    parent --control, channel--> `penstock.runtime.keeper`: has left the namespaces, forks, watches, tells how it ended
                                 `- model process: walls up, says which, waits for "go", then runs the entry

The interpreter was started without ``site``, so nothing that a package installed has run when the walls go
up. The keeper dies with its parent (the control socket ends), the model process with its keeper.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import site
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypedDict

from penstock.errors import PenstockError
from penstock.runtime.keeper import SandboxKeeper
from penstock.runtime.orders import CHANNEL, ORDERS, TREE, Orders
from penstock.runtime.walls import gate, kernel, landlock, namespaces, resources, seccomp

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
    keeper = SandboxKeeper(control, order["scratch"], order["limits"]["threads"])

    def become_model(log: int, orders: socket.socket | None) -> NoReturn:
        _become_model(order, (channel, log, orders), walls)

    keeper.keep(become_model, channel, workers=order["keep"], alone=walls.get("process") == "")


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


# -- the model process ---------------------------------------------------------------------------


def _become_model(order: Order, wires: tuple[int, int, socket.socket | None], walls: dict[str, str]) -> NoReturn:
    """Put the walls up, say which stand, wait for "go", run the entry, end."""
    try:
        channel, log, orders = wires
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(channel, CHANNEL)
        if orders is not None:
            os.dup2(orders.detach(), ORDERS)
        os.closerange(CHANNEL + 1 if orders is None else ORDERS + 1, 65536)
        os.chdir(order["scratch"])
        walls = walls | _raise_walls(order, walls, template=orders is not None)
        with suppress(EOFError):  # the parent changed its mind
            send(CHANNEL, json.dumps({"pid": kernel.outer_pid(), "walls": walls}).encode())
            receive(CHANNEL)
            forks = orders is not None and walls["gate"] == ""
            _run(order, Orders(order["scratch"], _readable(order), order["limits"]["threads"]) if forks else None)
        sys.stderr.flush()
        os._exit(0)
    except BaseException:
        # It ends in here, where what failed still holds the channel: the parent ends whoever closes that first.
        try:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        finally:
            os._exit(1)


def _raise_walls(order: Order, walls: dict[str, str], *, template: bool) -> dict[str, str]:
    """Put up every wall of this process; each to the empty text, or to why it does not stand."""
    scratch = order["scratch"]
    limits = order["limits"] | {"threads": order["limits"]["threads"] * (TREE if template else 1)}
    raised = {"limits": _try(lambda: resources.apply(limits, own_user=walls.get("user") == ""))}
    if sys.platform != "linux":
        return raised
    read = [*_readable(order), f"/proc/{kernel.outer_pid()}"]
    raised["privileges"] = _try(_drop_privileges)
    found: list[int] = []
    raised["files"] = _try(lambda: found.append(landlock.apply(read, [scratch, "/dev/null"])))
    older = "this kernel's Landlock is too old" if found else raised["files"]
    raised["tcp"] = "" if found and found[0] >= 4 else older
    raised["signals"] = "" if found and found[0] >= 6 else older
    if template:
        raised["gate"] = _try(_hand_over_the_gate)
        template = raised["gate"] == ""
    raised["calls"] = _try(lambda: seccomp.apply(template=template, alone=walls.get("process") == ""))
    return raised


def _hand_over_the_gate() -> None:
    """From now on the keeper is asked for each process that this one starts."""
    with socket.socket(fileno=os.dup(ORDERS)) as orders:
        listener = -1
        try:
            listener = gate.install()
        finally:
            socket.send_fds(orders, [b"g"], [listener] if listener >= 0 else [])
        os.close(listener)


def _drop_privileges() -> None:
    """No way up, no way to be looked into, no life after the keeper's."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.drop_capabilities()


def _try(step: Callable[[], None]) -> str:
    """Empty when the step went well, else why it did not."""
    try:
        step()
    except (OSError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return ""


def _readable(order: Order) -> list[str]:
    """What it may read, beside what the kernel says of itself."""
    return [*_SYSTEM, *_interpreter(), *order["site"], *order["read"]]


def _interpreter() -> list[str]:
    """The folders that this Python lives in, and Penstock's own."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    home = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if os.path.exists(os.path.join(home, "pyvenv.cfg")):
        prefixes.add(home)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [*sorted(prefixes), package, *filter(None, libraries)]


def _run(order: Order, orders: Orders | None) -> None:
    """Run the entry and send what it answers, or how it failed."""
    site.main()
    for folder in order["site"]:
        if folder not in sys.path:
            site.addsitedir(folder)
    if order["keep"]:
        # It speaks for itself, in frames of its own.
        _find(order["entry"])(order["arguments"], order["scratch"], CHANNEL, orders)
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
