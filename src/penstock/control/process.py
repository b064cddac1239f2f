"""The control plane's process from outside: is it there, start it, stop it.

    ensure_running(home) -> python -m penstock.control --home HOME -> run/control.json, run/supervisor.json

It may die at any time: the data plane goes on answering, and the next control plane adopts it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from msgspec.structs import replace

from penstock.errors import Corrupt, NotReady
from penstock.records import Record, decode

START_S = 90.0
"""One that ends is told at once; one that lives may be on a busy machine."""
STOP_S = 20.0


class Running(Record, frozen=True, kw_only=True):
    """Where to find what runs: the console's address, and the data plane's once something was released."""

    pid: int
    console: str
    predictions: str = ""
    started_at: float = 0.0


def running(home: Path) -> Running | None:
    """The control plane of a home, if one is alive."""
    try:
        found = decode((home / "run" / "control.json").read_bytes(), Running)
    except (FileNotFoundError, Corrupt):
        return None
    return replace(found, predictions=predictions_url(home)) if _is_alive(found.pid) else None


def predictions_url(home: Path) -> str:
    """Where predictions are answered; empty while no data plane runs."""
    try:
        found = decode((home / "run" / "supervisor.json").read_bytes(), _Supervisor)
    except (FileNotFoundError, Corrupt):
        return ""
    return f"http://{found.host}:{found.port}" if _is_alive(found.pid) else ""


def ensure_running(home: Path) -> Running:
    """Start the control plane in the background, unless it runs; wait until it answers.

    Raises:
        NotReady: It did not come up; its log says why.
    """
    home = home.absolute()
    found = running(home)
    if found is not None:
        return found
    (home / "run").mkdir(parents=True, exist_ok=True)
    (home / "log").mkdir(parents=True, exist_ok=True)
    with (home / "log" / "control.log").open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock.control", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = running(home)
        if found is not None:
            return found
        if process.poll() not in (None, 0):
            break
        time.sleep(0.05)
    raise NotReady(
        "the control plane did not come up", "log/control.log in the home folder says why", code="control.start"
    )


def stop(home: Path, *, data_plane: bool = True) -> list[str]:
    """Stop the control plane, and the data plane after what it holds is finished.

    Returns:
        What was stopped.
    """
    stopped = []
    places = {"control plane": home / "run" / "control.json"}
    if data_plane:
        places["data plane"] = home / "run" / "supervisor.json"
    for name, place in places.items():
        try:
            pid = decode(place.read_bytes(), _Pid).pid
        except (FileNotFoundError, Corrupt):
            continue
        if _is_alive(pid) and _end(pid):
            stopped.append(name)
        place.unlink(missing_ok=True)
    return stopped


class _Pid(Record, frozen=True, kw_only=True):
    """What both files hold."""

    pid: int


class _Supervisor(Record, frozen=True, kw_only=True):
    """What the data plane says of itself."""

    pid: int
    host: str
    port: int


def _end(pid: int) -> bool:
    """Ask a process to finish; insist when it does not."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while _is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _is_alive(pid):
        os.kill(pid, signal.SIGKILL)
    return True


def _is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
