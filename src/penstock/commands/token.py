"""`penstock token`: who may do what, as a token."""

from __future__ import annotations

import math
import time
from typing import Annotated

import typer

from penstock.access.tokens import Rate
from penstock.app.identities import give_token, take_token
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show


def run(
    name: Annotated[str, typer.Argument(help="The identity.")],
    role: Annotated[
        list[str] | None, typer.Option(help="viewer, operator, approver or admin; may be repeated.")
    ] = None,
    days: Annotated[float, typer.Option(help="Until it expires; 0 for never.")] = 90.0,
    rate: Annotated[float, typer.Option(min=0, help="Predictions a second at most; 0 for any number.")] = 0.0,
    revoke: Annotated[bool, typer.Option(help="Take back every token of the identity.")] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Give an identity roles and a token; it is shown once and kept nowhere.

    Example: penstock token rita --role approver
    """
    with answering(json=json):
        app = open_app(home, token=token)
        if revoke:
            count = take_token(app, name)
            show({"identity": name, "revoked": count}, json=json, text=lambda: out.print(f"revoked {count}"))
            return
        expires_at = time.time() + 86400 * days if days else 0.0
        # A tenth of a second's worth at once, so that requests that leave together are not told apart.
        limit = Rate(rate, max(1, math.ceil(rate / 10)))
        made = give_token(app, name, tuple(role or ("viewer",)), expires_at=expires_at, rate=limit)
        show({"identity": name, "token": made}, json=json, text=lambda: out.print(made))
