"""`penstock down`: stop what runs, after what it holds is finished."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show
from penstock.control.process import stop


def run(
    control_only: Annotated[bool, typer.Option(help="Leave the data plane answering.")] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Stop the control plane and the data plane.

    Example: penstock down
    """
    with answering(json=json):
        open_app(home, token=token)
        stopped = stop(home, data_plane=not control_only)
        text = f"stopped {', '.join(stopped)}" if stopped else "nothing was running"
        show({"stopped": stopped}, json=json, text=lambda: out.print(text))
