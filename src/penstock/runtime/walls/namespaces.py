"""Wall 3: what this process can see: its own users, network, mounts, processes and shared memory.

    user     no capability outside; as root, too
    network  not even loopback
    mount    everything read-only but the scratch folder
    process  it and its children only
    ipc      no shared memory with anybody

Each is tried by itself: a container or a hardened kernel may refuse some, and the other walls carry on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from penstock.runtime.walls import kernel

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_READONLY, _NOSUID = 1, 2


def apply(scratch: str, *, own_scratch: bool) -> dict[str, str]:
    """Leave the machine's namespaces; the process namespace takes hold of the next child.

    Args:
        scratch: The folder that stays writable.
        own_scratch: What is written there is for this process alone: kept in memory, gone with it.

    Returns:
        Namespace to the empty text, or to why it could not be had.
    """
    # A refused user namespace can leave a process half way in, so a child that may be lost tries first.
    walls = {"user": _in_child(_own_user)}
    if not walls["user"]:
        walls["user"] = _try(_own_user)
    walls["network"] = _try(lambda: _unshare(_NEWNET))
    walls["ipc"] = _try(lambda: _unshare(_NEWIPC | _NEWUTS))
    walls["mount"] = _try(lambda: _read_only(scratch, own_scratch))
    walls["process"] = _try(lambda: _unshare(_NEWPID))
    return walls


def _try(step: Callable[[], None]) -> str:
    """Empty when the step went well, else the kernel's words."""
    try:
        step()
    except OSError as error:
        return str(error)
    return ""


def _in_child(step: Callable[[], None]) -> str:
    """Try a step in a child process that ends with it."""
    child = os.fork()
    if child == 0:
        os._exit(1 if _try(step) else 0)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else "this machine allows no unprivileged user namespace"


def _unshare(flags: int) -> None:
    """Leave some namespaces."""
    kernel.check(int(kernel.LIBC.unshare(ctypes.c_int(flags))), "unshare")


def _own_user() -> None:
    """A user namespace in which this user is itself, and nobody else exists."""
    user, group = os.geteuid(), os.getegid()
    _unshare(_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _read_only(scratch: str, own_scratch: bool) -> None:
    """A mount namespace in which nothing but the scratch folder can be written to."""
    _unshare(_NEWNS)
    place = os.fsencode(scratch)
    _mount(b"none", b"/", _MS_REC | _MS_PRIVATE)
    if own_scratch:
        _mount(b"tmpfs", place, _MS_NOSUID | _MS_NODEV, b"size=256m,mode=700")
    else:
        _mount(place, place, _MS_BIND)
    _set_attributes(b"/", _AT_RECURSIVE, add=_READONLY | _NOSUID)
    _set_attributes(place, 0, clear=_READONLY)
    # The working folder still is the one below the new mount.
    os.chdir(scratch)


def _mount(source: bytes, target: bytes, flags: int, options: bytes | None = None) -> None:
    """mount(2); the source is the file system's type too, where it has one."""
    kernel.check(int(kernel.LIBC.mount(source, target, source, ctypes.c_ulong(flags), options)), "mount")


def _set_attributes(path: bytes, flags: int, *, add: int = 0, clear: int = 0) -> None:
    """mount_setattr(2)."""
    attributes = b"".join(number.to_bytes(8, "little") for number in (add, clear, 0, 0))
    buffers = ctypes.create_string_buffer(path), ctypes.create_string_buffer(attributes, len(attributes))
    kernel.syscall("mount_setattr", _MOUNT_SETATTR, _AT_FDCWD, buffers[0], flags, buffers[1], len(attributes))
