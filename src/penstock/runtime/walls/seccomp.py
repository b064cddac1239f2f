"""Wall 4: which system calls this process may make (seccomp with a classic BPF program, set by prctl).

Denied calls answer EPERM, so that a library which only tries goes on. Threads are allowed, processes are
not; a process may signal itself alone; the inherited channel is the only socket there will ever be.
Source: the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from penstock.runtime.walls import kernel
from penstock.runtime.walls.syscalls import CONDITIONAL, DENIED, LAST_KNOWN

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _GREATER, _MASKED, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_REFUSE = _ERRNO | errno.EPERM
_UNKNOWN = _ERRNO | errno.ENOSYS
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_THREAD = 0x10000
_NEW_NAMESPACES = 0x7E020080
# Options of prctl that would open a wall: death signal, dumpable, memory layout, tracer.
_PRCTL = (1, 4, 35, 0x59616D61)
# F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP, TIOCSTI: signals and keystrokes by a side door.
_FCNTL = (8, 10, 15)
_IOCTL = (0x8901, 0x8902, 0x5412)

Instruction = tuple[int, int, int, int]


def apply() -> None:
    """Filter this process's system calls, for good; new threads inherit the filter.

    Raises:
        OSError: The kernel has no seccomp, or this processor's numbers are not known.
    """
    if kernel.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"seccomp: no system call table for {kernel.machine()}")
    code = b"".join(struct.pack("=HBBI", *line) for line in program(kernel.machine(), os.getpid()))
    lines = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count, padding, a pointer.
    header = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(lines)))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    arguments = ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_MODE_FILTER), header
    kernel.check(int(kernel.LIBC.prctl(*arguments, 0, 0)), "seccomp")


def program(machine: str, pid: int) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, operand) lines.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        pid: The process that may be signalled: the caller itself.
    """
    architecture, column = _ARCHITECTURES[machine]
    lines: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    lines += [(_GREATER, 0, 1, LAST_KNOWN), (_RETURN, 0, 0, _UNKNOWN)]
    for group in DENIED.values():
        for numbers in group.values():
            if numbers[column] >= 0:
                lines += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _REFUSE)]
    for name, body in _conditions(pid).items():
        lines += [(_EQUAL, 0, len(body), CONDITIONAL[name][column]), *body]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _conditions(pid: int) -> dict[str, list[Instruction]]:
    """For each call that its arguments decide, the lines that decide it; each way through ends in a return."""
    thread = [(_MASKED, 0, 2, _THREAD), (_MASKED, 1, 0, _NEW_NAMESPACES), (_RETURN, 0, 0, _ALLOW), _refuse()]
    # An address is a pointer of 64 bits: both halves of it have to be empty, or it reaches sockets outside.
    upper = (_LOAD, 0, 0, 16 + 8 * 4 + 4)
    no_address = [(_EQUAL, 0, 3, 0), upper, (_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW), _refuse()]
    return {
        "clone": [_argument(0), *thread],
        # Its flags lie in memory, out of the filter's sight; the C library falls back to clone.
        "clone3": [(_RETURN, 0, 0, _UNKNOWN)],
        "kill": _only(0, (pid,)),
        "tgkill": _only(0, (pid,)),
        "prlimit64": _only(0, (0, pid)),
        "sendto": [_argument(4), *no_address],
        "prctl": _never(0, _PRCTL),
        "fcntl": _never(1, _FCNTL),
        "ioctl": _never(1, _IOCTL),
    }


def _argument(index: int) -> Instruction:
    """Load the lower 32 bits of an argument (both processors are little-endian)."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _refuse() -> Instruction:
    """Answer EPERM."""
    return (_RETURN, 0, 0, _REFUSE)


def _only(index: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allow if the argument is one of these."""
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *tests, _refuse(), (_RETURN, 0, 0, _ALLOW)]


def _never(index: int, values: tuple[int, ...]) -> list[Instruction]:
    """Refuse if the argument is one of these."""
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *tests, (_RETURN, 0, 0, _ALLOW), _refuse()]
