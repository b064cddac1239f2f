"""A version of a real home, exported; and the environments in which other people's runtimes run it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import NamedTuple

from penstock.app.exporting import Exported, export_version
from penstock.app.opening import open_app
from tests.release.home_for_tests import Home

ROOT = Path(__file__).parents[1]
VERSION = 2
BIAS = 0.5
"""Of the linear model behind version 2 of ``m``."""


def make_home(folder: Path) -> Path:
    """A home with versions 1 and 2 of ``m``; returns its folder."""
    Home(folder, 0.0, BIAS)
    return folder


def export(home: Path, kind: str, folder: Path) -> Exported:
    return export_version(open_app(home), f"m@{VERSION}", kind, folder)


def python_of(environment: str) -> Path:
    return ROOT / ".venv" / environment / "bin" / "python"


def variables(**more: str) -> dict[str, str]:
    """A process's environment in which Penstock is found and nothing of ours is set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK_", "AWS_", "AZUREML_"))}
    return kept | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"} | more


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Got(NamedTuple):
    """An answer; headers of one name are joined."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None, method: str | None = None) -> Got:
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return Got(answer.status, _joined(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Got(error.code, _joined(error.headers), error.read())


def _joined(headers: Message) -> dict[str, str]:
    return {name.lower(): ", ".join(headers.get_all(name)) for name in headers}


class Server:
    """Somebody else's server as a process, until `stop`."""

    def __init__(self, command: list[str], url: str, *, folder: Path, environment: dict[str, str]) -> None:
        self.url = url
        self.said = folder.parent / f"{folder.name}.out"
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        end = time.monotonic() + 60
        while not self._listens():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < end, self.said.read_text()
            time.sleep(0.1)

    def _listens(self) -> bool:
        try:
            ask(self.url)
        except OSError:
            return False
        return True

    def stop(self) -> str:
        """End it; returns what it said."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        return self.said.read_text()
