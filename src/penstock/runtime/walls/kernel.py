"""System calls by number: what the walls are built with, through the C library and ctypes.

Standard library only: it runs in the sandboxed process before any site-packages folder is in reach.
"""

from __future__ import annotations

import ctypes
import os
import platform

LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_CAPBSET_DROP = 24
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3 = 0x20080522


def machine() -> str:
    """The processor's name as the walls' tables use it (``x86_64``, ``aarch64``)."""
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())


def check(result: int, what: str) -> int:
    """The result of a C call, or the error it set.

    Raises:
        OSError: The call answered below zero.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: int | ctypes.Array[ctypes.c_char] | None) -> int:
    """Call the kernel; integers travel as 64 bits, buffers as pointers.

    Raises:
        OSError: The kernel refused; the text starts with `what`.
    """
    passed = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return check(int(LIBC.syscall(ctypes.c_long(number), *passed)), what)


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process.

    Raises:
        OSError: The kernel refused.
    """
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    check(int(LIBC.prctl(ctypes.c_int(option), *arguments)), f"prctl {option}")


def drop_capabilities() -> None:
    """Give up every capability, those a later exec could get back included.

    Raises:
        OSError: The kernel refused to take them.
    """
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
    header = ctypes.create_string_buffer(_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4), 8)
    syscall("capset", _CAPSET[machine()], header, ctypes.create_string_buffer(bytes(24), 24))


def outer_pid() -> int:
    """This process's number in the mounted /proc, which a process namespace does not change."""
    try:
        return int(os.readlink("/proc/self"))
    except OSError:
        return os.getpid()
