"""The control plane as a process: API, console and the loop that turns wishes into what runs.

    ensure_running(home) -> python -m penstock.control --home HOME -> run/control.json, run/supervisor.json

It may die at any time: the data plane goes on answering, and the next control plane adopts it.
"""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from msgspec.structs import replace

from penstock.api.server import create
from penstock.app.loop import ControlLoop
from penstock.app.opening import open_app
from penstock.errors import Conflict, Corrupt, NotReady
from penstock.records import Record, decode, encode

START_S = 30.0
STOP_S = 20.0
TURN_S = 0.1
log = logging.getLogger("penstock.control")


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


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's control lock; the system lets go of it however this process ends.

    Raises:
        Conflict: Another control plane holds it.
    """
    with (home / "run" / "control.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict("a control plane already runs for this home", "penstock down stops it") from error
        yield


def serve(home: Path) -> None:
    """Run the control plane until it is told to stop."""
    app = open_app(home)
    app = dataclasses.replace(app, identity=app.registry.system())
    (home / "run").mkdir(exist_ok=True)
    with _only_one(home), socket.create_server((app.config.api.host, app.config.api.port)) as listener:
        host, port = listener.getsockname()[:2]
        loop = ControlLoop(app)
        place = Running(pid=os.getpid(), console=f"http://{host}:{port}", started_at=time.time())
        server = uvicorn.Server(uvicorn.Config(create(app), log_level="warning", access_log=False, server_header=False))
        turning = threading.Thread(target=_turn_forever, args=(loop, server), name="turns", daemon=True)
        turning.start()
        _announce(home, place, server)
        server.run(sockets=[listener])
        turning.join(timeout=5.0)


def _announce(home: Path, place: Running, server: uvicorn.Server) -> None:
    """Say where the console is once it answers."""

    def wait() -> None:
        while not server.started and not server.should_exit:
            time.sleep(0.01)
        scratch = home / "run" / "control.json.tmp"
        scratch.write_bytes(encode(place))
        scratch.replace(home / "run" / "control.json")

    threading.Thread(target=wait, name="announce", daemon=True).start()


def _turn_forever(loop: ControlLoop, server: uvicorn.Server) -> None:
    """One turn after another; a turn that fails is told to the log and tried again, ever more slowly."""
    pause = TURN_S
    while not server.should_exit:
        try:
            loop.turn()
            pause = TURN_S
        except Exception:
            log.exception("a turn of the control plane failed")
            pause = min(2 * pause, 5.0)
        time.sleep(pause)


def main() -> None:
    """The process's entry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    home = parser.parse_args().home
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(home)


if __name__ == "__main__":
    main()
