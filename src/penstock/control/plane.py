"""The control plane: API, console, and the loop that turns wishes into what runs, in one process.

open the home -> listen -> turns in a thread -> serve API and console -> run/control.json
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from penstock.api.server import create
from penstock.app.loop import ControlLoop
from penstock.app.opening import open_app
from penstock.console.routes import ROUTES
from penstock.control.process import Running
from penstock.errors import Conflict
from penstock.records import encode

TURN_S = 0.1
SLOWEST_S = 5.0
log = logging.getLogger("penstock.control")


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
    with _only_one(home), _listen(app.config.api.host, app.config.api.port) as listener:
        host, port = listener.getsockname()[:2]
        loop = ControlLoop(app)
        place = Running(pid=os.getpid(), console=f"http://{host}:{port}", started_at=time.time())
        server = uvicorn.Server(
            uvicorn.Config(create(app, pages=ROUTES), log_level="warning", access_log=False, server_header=False)
        )
        turning = threading.Thread(target=_turn_forever, args=(loop, server), name="turns", daemon=True)
        turning.start()
        _announce(home, place, server)
        server.run(sockets=[listener])
        turning.join(timeout=5.0)
        loop.stop()


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
            pause = min(2 * pause, SLOWEST_S)
        time.sleep(pause)


def _listen(host: str, port: int) -> socket.socket:
    """Listen where the settings say; another home's control plane may be there, and then on a free port."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        log.warning("port %d is taken; listening on a free one", port)
        return socket.create_server((host, 0))
