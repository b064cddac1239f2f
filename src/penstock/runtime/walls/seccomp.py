"""Wall 4: which system calls this process may make (seccomp with a classic BPF program, set by prctl).

Denied calls answer EPERM, so that a library which only tries goes on. Threads are allowed, processes are
not; a process may signal itself alone; the inherited channel is the only socket there will ever be.
Source: the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct

from penstock.runtime.walls import kernel
from penstock.runtime.walls.syscalls import CONDITIONAL, DENIED, LAST_KNOWN

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
LOAD, EQUAL, GREATER, MASKED, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_KILL, _ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_REFUSE = _ERRNO | errno.EPERM
_UNKNOWN = _ERRNO | errno.ENOSYS
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
THREAD = 0x10000
_SIBLING = 0x8000
_NEW_NAMESPACES = 0x7E020080
# Options of prctl that would open a wall: death signal, dumpable, memory layout, tracer.
_PRCTL = (1, 4, 35, 0x59616D61)
# F_SETOWN, F_SETSIG, F_SETOWN_EX; FIOSETOWN, SIOCSPGRP, TIOCSTI: signals and keystrokes by a side door.
_FCNTL = (8, 10, 15)
_IOCTL = (0x8901, 0x8902, 0x5412)
# How a template is handed a worker's socket.
_HANDED = "recvmsg"

Instruction = tuple[int, int, int, int]


def apply(*, template: bool = False, alone: bool = False) -> None:
    """Filter this process's system calls, for good; new threads and processes inherit the filter.

    Args:
        template: Of it, workers will be forked, each of which filters once more; see `program`.
        alone: It has a process namespace.

    Raises:
        OSError: The kernel has no seccomp, or this processor's numbers are not known.
    """
    if kernel.machine() not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"seccomp: no system call table for {kernel.machine()}")
    header, lines = in_memory(program(kernel.machine(), os.getpid(), template=template, alone=alone))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    arguments = ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_MODE_FILTER), header
    kernel.check(int(kernel.LIBC.prctl(*arguments, 0, 0)), "seccomp")
    del lines


def in_memory(program: list[Instruction]) -> tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]]:
    """A program as the kernel takes it: its header, and the lines that have to stay until it was taken."""
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    lines = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a count, padding, a pointer.
    return ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(lines))), lines


def program(machine: str, pid: int, *, template: bool = False, alone: bool = False) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, operand) lines.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        pid: The process that may be signalled: the caller itself.
        template: It may also be handed sockets, and start processes that are its parent's children: the gate asks for
            each. What a worker needs and this forbade could not be allowed again.
        alone: It sees no process but the sandbox's; a template then leaves it to its workers whom they may signal.
    """
    architecture, column = ARCHITECTURES[machine]
    lines: list[Instruction] = [
        (LOAD, 0, 0, 4),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, _KILL),
        (LOAD, 0, 0, 0),
    ]
    lines += [(GREATER, 0, 1, LAST_KNOWN), (RETURN, 0, 0, _UNKNOWN)]
    for group in DENIED.values():
        for name, numbers in group.items():
            if numbers[column] >= 0 and not (template and name == _HANDED):
                lines += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, _REFUSE)]
    conditions = _conditions(pid)
    if template:
        conditions |= _template_conditions()
        for name in ("kill", "tgkill") if alone else ():
            del conditions[name]
    for name, body in conditions.items():
        lines += [(EQUAL, 0, len(body), CONDITIONAL[name][column]), *body]
    return [*lines, (RETURN, 0, 0, ALLOW)]


def _conditions(pid: int) -> dict[str, list[Instruction]]:
    """For each call that its arguments decide, the lines that decide it; each way through ends in a return."""
    thread = [(MASKED, 0, 2, THREAD), (MASKED, 1, 0, _NEW_NAMESPACES), (RETURN, 0, 0, ALLOW), _refuse()]
    # An address is a pointer of 64 bits: both halves of it have to be empty, or it reaches sockets outside.
    upper = (LOAD, 0, 0, 16 + 8 * 4 + 4)
    no_address = [(EQUAL, 0, 3, 0), upper, (EQUAL, 0, 1, 0), (RETURN, 0, 0, ALLOW), _refuse()]
    return {
        "clone": [argument(0), *thread],
        # Its flags lie in memory, out of the filter's sight; the C library falls back to clone.
        "clone3": [(RETURN, 0, 0, _UNKNOWN)],
        "kill": _only(0, (pid,)),
        "tgkill": _only(0, (pid,)),
        "prlimit64": _only(0, (0, pid)),
        "sendto": [argument(4), *no_address],
        "prctl": _never(0, _PRCTL),
        "fcntl": _never(1, _FCNTL),
        "ioctl": _never(1, _IOCTL),
    }


def _template_conditions() -> dict[str, list[Instruction]]:
    """What differs for a template."""
    processes = [(MASKED, 1, 0, THREAD), (MASKED, 0, 2, _SIBLING), (MASKED, 1, 0, _NEW_NAMESPACES)]
    to_end = [(EQUAL, 0, 3, kernel.PR_SET_PDEATHSIG), argument(1), (EQUAL, 0, 5, signal.SIGKILL)]
    others = [(EQUAL, len(_PRCTL[1:]) - place, 0, value) for place, value in enumerate(_PRCTL[1:])]
    return {
        "clone": [argument(0), *processes, (RETURN, 0, 0, ALLOW), _refuse()],
        # The death signal goes with fork; a worker asks for it again, and nobody for another.
        "prctl": [argument(0), *to_end, (RETURN, 0, 0, ALLOW), *others, (RETURN, 0, 0, ALLOW), _refuse()],
    }


def argument(index: int) -> Instruction:
    """Load the lower 32 bits of an argument (both processors are little-endian)."""
    return (LOAD, 0, 0, 16 + 8 * index)


def _refuse() -> Instruction:
    """Answer EPERM."""
    return (RETURN, 0, 0, _REFUSE)


def _only(index: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allow if the argument is one of these."""
    tests = [(EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [argument(index), *tests, _refuse(), (RETURN, 0, 0, ALLOW)]


def _never(index: int, values: tuple[int, ...]) -> list[Instruction]:
    """Refuse if the argument is one of these."""
    tests = [(EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [argument(index), *tests, (RETURN, 0, 0, ALLOW), _refuse()]
