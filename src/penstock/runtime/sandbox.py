"""The sandbox: run code that came with a model in a process of its own, without network, unable to write.

    run_task      one call, one process, a JSON answer          (build: open, convert, compare untrusted models)
    start_worker  a process that stays, behind a socket         (the python engine)
    level         which walls this machine can put up, and why not the others

The parent never loads what the child sends: answers are JSON or raw numbers, sizes are bounded, and the
child is told to go on only after it has said which walls stand. Environments are built outside of it.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from penstock import errors
from penstock.errors import BadConfig, ModelFailed, PenstockError
from penstock.runtime.limits import Level, Quota
from penstock.runtime.process import Confined, Hello, died, receive, spawn

_ANSWER_BYTES = 256 << 20
_START_S = 30.0
_SHOWN = 1000
_NOT_OURS = "the model's own code spoke in the build's place; do not use it"
_DEFAULT = Quota()


def level() -> Level:
    """Which walls this machine puts up around a process, tried once with a process that does nothing."""
    return _level()


@cache
def _level() -> Level:
    if sys.platform != "linux":
        return Level({"limits": "walls are built for Linux only", "files": "walls are built for Linux only"})
    with TemporaryDirectory(prefix="penstock-") as scratch:
        confined = _start("", None, read=(), scratch=Path(scratch), limits=Quota(weak=True))
        confined.close()
        return confined.level


def run_task(
    entry: str,
    arguments: object,
    *,
    read: Sequence[Path],
    scratch: Path,
    python: Path | None = None,
    limits: Quota = _DEFAULT,
) -> object:
    """Call one function in a sandboxed process of its own and return its answer.

    Args:
        entry: ``module:function`` or ``/path/to/file.py:function``, called as ``function(arguments, scratch)`` with
            the decoded arguments and the scratch folder as a Path; it returns what JSON can hold.
        arguments: What JSON can hold.
        read: Files and folders that it may read, besides Python's own.
        scratch: The one folder that it may write to; it exists already.
        python: Another environment's interpreter; this one's by default.
        limits: What it may take.

    Returns:
        The decoded answer. It comes from untrusted code: check it before use.

    Raises:
        PenstockError: The function raised one; it arrives as the same class, code, message and hint.
        ModelFailed: It raised anything else, took too long or too much, or died
            (codes ``runtime.task_failed``, ``.timeout``, ``.memory``, ``.died``).
        BadConfig: This machine cannot put up enough walls and `limits` does not say ``weak``.
    """
    confined = _start(entry, arguments, read=read, scratch=scratch, python=python, limits=limits)
    try:
        confined.channel.settimeout(limits.time_s)
        data = receive(confined.channel, _ANSWER_BYTES, deadline=time.monotonic() + limits.time_s)
    except TimeoutError:
        confined.close()
        raise ModelFailed(
            f"{entry} took longer than {limits.time_s:g} s in the sandbox",
            "make it faster or allow it more time",
            code="runtime.timeout",
        ) from None
    except (EOFError, ConnectionError):
        raise died(entry, confined.close()) from None
    finally:
        confined.close()
    return _answer(entry, data)


def start_worker(
    entry: str,
    arguments: object,
    *,
    read: Sequence[Path],
    scratch: Path,
    python: Path | None = None,
    limits: Quota = _DEFAULT,
) -> Confined:
    """Start a sandboxed process that stays; parameters and errors as `run_task`.

    The function is called as ``function(arguments, scratch, descriptor, orders)`` (scratch as text) and talks over the
    descriptor in frames of its own until the socket ends. With `penstock.runtime.orders.Orders` it can be a template;
    None where this machine cannot ask for each process that is started.
    """
    return _start(entry, arguments, read=read, scratch=scratch, python=python, limits=limits, keep=True)


def _start(
    entry: str,
    arguments: object,
    *,
    read: Sequence[Path],
    scratch: Path,
    python: Path | None = None,
    limits: Quota = _DEFAULT,
    keep: bool = False,
) -> Confined:
    """Start the process, let it put its walls up, judge them, and let it go on."""
    paths = [str(path.resolve()) for path in read]
    if entry.rpartition(":")[0].endswith(".py"):
        paths.append(entry.rpartition(":")[0])
    folder = str(scratch.resolve(strict=True))
    allowed = {**limits._asdict(), "cpu_s": limits.cpu_s or (0 if keep else int(limits.time_s) + 2)}
    order = {"entry": entry, "arguments": arguments, "read": paths, "scratch": folder, "keep": keep}
    order |= {"site": [] if python else _site_folders(), "limits": allowed}
    confined = spawn(python or Path(sys.executable), folder, msgspec.json.encode(order))
    try:
        deadline = time.monotonic() + _START_S
        hello = msgspec.json.decode(receive(confined.channel, 65536, deadline=deadline), type=Hello)
        confined.pid, confined.level = hello.pid, Level(hello.walls)
    except (OSError, EOFError, ValueError, RecursionError):
        raise died("the sandbox's start", confined.close()) from None
    if not (limits.weak or confined.level.enough):
        confined.close()
        raise BadConfig(
            f"this machine cannot put up enough walls around code that came with a model ({confined.level.missing})",
            "run `penstock doctor`; use a compiled format, or a policy that allows it",
            code="runtime.weak_sandbox",
        )
    if entry:
        confined.channel.sendall(struct.pack("<I", 2) + b"go")
    return confined


def _site_folders() -> list[str]:
    """Where this interpreter finds installed packages."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


class _Reply(msgspec.Struct, frozen=True):
    """What the child answers; one of `refused` and `failed` is set where it did not succeed."""

    answer: msgspec.Raw = msgspec.Raw(b"null")
    refused: str = ""
    failed: str = ""
    message: str = ""
    hint: str = ""
    code: str = ""
    where: str = ""


def _answer(entry: str, data: bytes) -> object:
    """The answer, or the error that it stands for, in words that a screen can show."""
    try:
        reply = msgspec.json.decode(data, type=_Reply)
        answer: object = msgspec.json.decode(reply.answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ModelFailed(f"{entry} answered no JSON", _NOT_OURS, code="runtime.task_failed") from None
    if reply.failed == "MemoryError":
        raise ModelFailed(f"{entry} ran out of the sandbox's memory", "allow it more memory", code="runtime.memory")
    if reply.failed:
        raise ModelFailed(f"{entry} raised {_shown(reply.failed)}: {reply.message}", code="runtime.task_failed")
    if reply.refused:
        kind = getattr(errors, reply.refused, None)
        known = kind if isinstance(kind, type) and issubclass(kind, PenstockError) else ModelFailed
        message, hint = _shown(reply.message) or f"{entry} refused without a reason", _shown(reply.hint) or _NOT_OURS
        raise known(message, hint, code=_shown(reply.code), where=_shown(reply.where))
    return answer


def _shown(text: str) -> str:
    """Words of the sandbox's, which its model may have written: short, and nothing that a screen would obey."""
    safe = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text[:_SHOWN])
    return safe if len(text) <= _SHOWN else f"{safe}..."
