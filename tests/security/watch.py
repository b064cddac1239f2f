"""Watches the trusted process while an artifact is handled in it: an audit hook that writes down what it may not do.

Nothing is forbidden here, because what is seen has to be told: the judge fails on any of it. The sandbox's own start is
the one process that may be started. A hook cannot be taken away again, so the judge runs in a process of its own.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path
from types import CodeType

import penstock

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NEVER = frozenset(
    {
        "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "pty.spawn",
        "pickle.find_class", "marshal.loads", "marshal.load", "code.__new__", "function.__new__", "socket.connect",
        "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "webbrowser.open",
        "ftplib.connect", "smtplib.connect", "http.client.connect", "sqlite3.connect", "os.kill", "os.killpg",
        "signal.pthread_kill", "ctypes.dlsym", "ctypes.call_function", "cpython.run_command", "os.putenv", "os.unsetenv",
        "resource.setrlimit", "resource.prlimit", "sys.addaudithook", "sys.settrace", "shutil.chown",
    }
)  # fmt: skip
_CHANGES = frozenset(
    {
        "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
        "os.utime", "shutil.rmtree", "shutil.copyfile", "shutil.move",
    }
)  # fmt: skip
_OURS = frozenset({"socket.connect", "socket.getaddrinfo", "http.client.connect", "sqlite3.connect"})


class Watch:
    """What the hook saw.

    Args:
        work: Below this may be written.
        canaries: Nothing of this may be opened.
        token: A word that stands in hostile code alone.
        ports: On the loopback, that may be called.
    """

    def __init__(self, work: Path, canaries: Path, token: str, ports: frozenset[int] = frozenset()) -> None:
        self._ports = ports
        self.active = False
        self.seen: list[str] = []
        self._work = str(work)
        self._canaries = str(canaries)
        self._token = token
        libraries = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
        self._code = (
            *libraries,
            *site.getsitepackages(),
            str(Path(penstock.__file__).parent),
            "<frozen",
            "<string>",
            "<",
        )
        self._modules: set[str] = set(sys.modules)
        sys.addaudithook(self._hear)

    def begin(self) -> None:
        """An artifact comes in."""
        self.seen = []
        self._modules = set(sys.modules)
        self.active = True

    def end(self) -> list[str]:
        """What it made this process do; each thing once."""
        self.active = False
        for name in sys.modules.keys() - self._modules:
            file = getattr(sys.modules.get(name), "__file__", None) or "<"
            if not file.startswith(self._code):
                self.seen.append(f"import {name}")
        return list(dict.fromkeys(self.seen))

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.active:
            return
        why = self._judged(event, arguments)
        if why:
            self.seen.append(why[:200])

    def _judged(self, event: str, arguments: tuple[object, ...]) -> str:
        if event in _OURS and self._is_ours(event, arguments):
            return ""
        if event in _NEVER:
            return "" if event.startswith("marshal") and _importing() else f"{event} {arguments!r}"
        if event == "subprocess.Popen":
            return "" if "penstock.runtime.confined" in str(arguments[1]) else f"{event} {arguments[1]!r}"
        if event == "open":
            return self._opened(*arguments)
        if event in _CHANGES:
            paths = [str(one) for one in arguments if isinstance(one, str | os.PathLike)]
            outside = [one for one in paths if os.path.isabs(one) and not one.startswith(self._work)]
            return f"{event} {outside}" if outside else ""
        if event == "exec" and isinstance(arguments[0], CodeType):
            code = arguments[0]
            return (
                ""
                if code.co_filename.startswith(self._code) and not self._hostile(code)
                else f"exec {code.co_filename}"
            )
        if event == "ctypes.dlopen":
            return (
                ""
                if arguments[0] is None or str(arguments[0]).startswith(self._code[:-2])
                else f"{event} {arguments!r}"
            )
        return ""

    def _is_ours(self, event: str, arguments: tuple[object, ...]) -> bool:
        """A place that the judge itself started, or the home's own store."""
        if event == "sqlite3.connect":
            return str(arguments[0]).removeprefix("file:").startswith(self._work)
        address = {"socket.connect": arguments[1], "http.client.connect": arguments[1:3]}.get(event, arguments[:2])
        return isinstance(address, tuple) and address[0] == "127.0.0.1" and address[1] in self._ports

    def _opened(self, path: object, mode: object = None, flags: object = 0) -> str:
        if isinstance(path, int) or path is None:
            return ""
        place = os.path.abspath(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else str(path)
        if place.startswith(self._canaries):
            return f"open {place}"
        writes = isinstance(flags, int) and bool(flags & _WRITES)
        named = isinstance(path, str | bytes) and not os.path.isabs(os.fsdecode(path))  # below a descriptor
        return (
            f"open to write {place}" if writes and not named and not place.startswith((self._work, "/dev/null")) else ""
        )

    def _hostile(self, code: CodeType) -> bool:
        return any(self._token in one for one in code.co_consts if isinstance(one, str))


def _importing() -> bool:
    """Whether Python itself reads one of its own compiled files."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
