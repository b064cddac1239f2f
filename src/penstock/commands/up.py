"""`penstock up`: the whole of Penstock on this machine, in the background."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, progress, show
from penstock.control.process import ensure_running
from penstock.web.links import console_link


def run(home: Home = DEFAULT_HOME, token: As = "", json: Json = False) -> None:
    """Start the control plane and the console; the data plane it finds is adopted, or started at the first release.

    Example: penstock up
    """
    with answering(json=json):
        app = open_app(home, token=token)
        with progress("up", json=json) as step:
            step("starting the control plane")
            running = ensure_running(home)
        answer = replace(running, console=console_link(app, running.console))
        show(answer, json=json, text=lambda: out.print(f"console  {answer.console}\nstop it with: penstock down"))
