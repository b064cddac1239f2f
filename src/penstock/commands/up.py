"""`penstock up`: the whole of Penstock on this machine, in the background."""

from __future__ import annotations

from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, progress, show
from penstock.control.process import ensure_running


def run(home: Home = DEFAULT_HOME, token: As = "", json: Json = False) -> None:
    """Start the control plane and the console; the data plane it finds is adopted, or started at the first release.

    Example: penstock up
    """
    with answering(json=json):
        open_app(home, token=token)
        with progress("up", json=json) as step:
            step("starting the control plane")
            running = ensure_running(home)
        show(running, json=json, text=lambda: out.print(f"console  {running.console}\nstop it with: penstock down"))
