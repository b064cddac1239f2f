"""Wall 5: who may start a process: only whom the keeper lets, each time anew (seccomp's user notification).

    template: clone --kernel holds it--> keeper: ordered? -> go on | EPERM

The filter below asks for every process, and for no thread; the keeper holds its other end.
Source: the kernel's Documentation/userspace-api/seccomp_filter.rst ("Userspace Notification").
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from collections.abc import Callable

from penstock.runtime.walls import kernel, seccomp
from penstock.runtime.walls.syscalls import CONDITIONAL

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ASK = 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION = struct.Struct("=QII64x")
_ANSWER = struct.Struct("=QqiI")
_GO_ON = 1


def install() -> int:
    """Have every process that this one starts asked for, for good; the descriptor at which somebody has to answer.

    Raises:
        OSError: This kernel cannot ask, or this processor's numbers are not known.
    """
    machine = kernel.machine()
    if machine not in _SECCOMP:
        raise OSError(errno.ENOSYS, f"seccomp: no system call table for {machine}")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    header, lines = seccomp.in_memory(program(machine))
    listener = kernel.syscall("seccomp", _SECCOMP[machine], _SET_MODE_FILTER, _NEW_LISTENER, header)
    del lines
    return listener


def program(machine: str) -> list[seccomp.Instruction]:
    """The filter, as `penstock.runtime.walls.seccomp.program`."""
    number = CONDITIONAL["clone"][seccomp.ARCHITECTURES[machine][1]]
    return [
        (seccomp.LOAD, 0, 0, 0),
        (seccomp.EQUAL, 1, 0, number),
        (seccomp.RETURN, 0, 0, seccomp.ALLOW),
        seccomp.argument(0),
        (seccomp.MASKED, 0, 1, seccomp.THREAD),
        (seccomp.RETURN, 0, 0, seccomp.ALLOW),
        (seccomp.RETURN, 0, 0, _ASK),
    ]


def answer(listener: int, may_start: Callable[[int], bool]) -> None:
    """Answer one process that asks: is the one with this number allowed to start another?"""
    question = bytearray(_QUESTION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, question)
        number, asking, _ = _QUESTION.unpack(question)
        verdict = (0, _GO_ON) if may_start(asking) else (-errno.EPERM, 0)
        fcntl.ioctl(listener, _SEND, _ANSWER.pack(number, 0, *verdict))
    except FileNotFoundError:
        return  # it was killed while it asked


def start_process(flags: int) -> int:
    """clone(2) without a new stack, as fork; 0 in the child. No thread but this one may be running.

    The interpreter's own hooks run; the C library's do not: they keep the locks of other threads in order.

    Raises:
        OSError: The keeper, or the kernel, refused.
    """
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_SAME_THREAD.syscall(_clone(), ctypes.c_long(flags), None, None, None, None))
    number = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(number, "clone")
    return pid


# The interpreter's lock stays with the one thread that there is.
_SAME_THREAD = ctypes.PyDLL(None, use_errno=True)


def _clone() -> ctypes.c_long:
    return ctypes.c_long(CONDITIONAL["clone"][seccomp.ARCHITECTURES[kernel.machine()][1]])
