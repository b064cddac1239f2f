"""`penstock rollback`: back to an earlier release, whole and at once."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from penstock.app.alone import carry_out
from penstock.app.opening import open_app
from penstock.app.releasing import rollback, wait_until_settled
from penstock.commands.screen import DEFAULT_HOME, UNKNOWN, As, Home, Json, answering, out, show
from penstock.control.process import ensure_running, running


def run(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    to: Annotated[int | None, typer.Option(help="The release to go back to; the one before by default.")] = None,
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Take an endpoint back: model, thresholds and monitors together, from warm.

    Example: penstock rollback churn --reason "scores look wrong"
    """
    with answering(json=json):
        app = open_app(home, token=token)
        started = time.monotonic()
        made = rollback(app, endpoint, to=to, reason=reason)
        # Nobody waits for a control plane to start before the traffic is back where it was.
        carry = wait_until_settled if running(home) else carry_out
        settled = carry(app, made, timeout_s=30.0)
        seconds = time.monotonic() - started
        ensure_running(home)
        answer = {
            "endpoint": endpoint,
            "release": made.revision,
            "version": made.variants[0].version,
            "seconds": round(seconds, 3),
            "phase": settled,
        }
        show(
            answer,
            json=json,
            text=lambda: out.print(
                f"[bold]{endpoint}[/] answers with {made.variants[0].ref} again, after {seconds:.2f} s"
            ),
        )
        if settled != "live":
            raise typer.Exit(UNKNOWN)
