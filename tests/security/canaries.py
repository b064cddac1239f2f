"""What must be as it was afterwards: files, a listener whom nobody calls, the environment, signals, processes.

Canaries(folder) -> target (what artifacts are after) ; harmed() -> what happened since it was asked last
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from contextlib import suppress
from pathlib import Path

from tests.security.artifacts.artifact import Target


class Canaries:
    """They sit in a folder that no artifact has any business in.

    Attributes:
        target: Where they are.
        token: What stands in the secret file, and nowhere else.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.token = f"canary-{secrets.token_hex(12)}"
        self._folder = folder
        secret = folder / "secret"
        secret.write_text(self.token)
        secret.chmod(0o600)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        port = self._listener.getsockname()[1]
        with suppress(OSError):
            self._datagrams.bind(("127.0.0.1", port))
        self._datagrams.setblocking(False)
        self.target = Target(folder, str(folder / "marker"), str(secret), port)
        self._heard: list[int] = []
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, lambda found, _: self._heard.append(found))
        os.environ["PENSTOCK_CANARY"] = self.token
        self._files = self._listed()
        self._environment = dict(os.environ)
        self._children = _children()

    def settle(self) -> None:
        """What an artifact was made with is no harm: what is there now is what has to stay."""
        self._files = self._listed()
        self._children = _children()
        self._environment = dict(os.environ)

    def harmed(self) -> list[str]:
        """What happened to them, in words."""
        found = []
        files = self._listed()
        for name in sorted(files.keys() | self._files.keys()):
            if files.get(name) != self._files.get(name):
                found.append(f"file {name} outside was {'changed' if name in self._files else 'written'}")
        with suppress(BlockingIOError):
            self._listener.accept()[0].close()
            found.append("somebody connected")
        with suppress(BlockingIOError):
            self._datagrams.recv(10)
            found.append("somebody sent a datagram")
        if dict(os.environ) != self._environment:
            found.append("the environment was changed")
        if self._heard:
            found.append(f"signals came: {self._heard}")
        left = _children() - self._children
        if left:
            found.append(f"{len(left)} processes were left")
        if found:
            self._heard.clear()
            os.environ.clear()
            os.environ.update(self._environment)
            self._files = files
            self._children = _children()
        return found

    def leaked(self, folder: Path) -> bool:
        """Whether the secret stands in what was made."""
        token = self.token.encode()
        return any(token in path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())

    def close(self) -> None:
        """Let the listener go."""
        self._listener.close()
        self._datagrams.close()

    def _listed(self) -> dict[str, tuple[int, int, int, bytes]]:
        """Everything of every file but when it was read."""
        found = {}
        for path in self._folder.rglob("*"):
            info = path.lstat()
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path.relative_to(self._folder))] = (info.st_mode, info.st_size, info.st_mtime_ns, data)
        return found


def _children() -> set[int]:
    """Processes that this one has started and that still are."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found |= set(map(int, (task / "children").read_text().split()))
    return found
