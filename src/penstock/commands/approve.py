"""`penstock approve`: a named person's yes, over the evidence they saw."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.releasing import approve
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show


def run(
    ref: Annotated[str, typer.Argument(help="NAME@3.")],
    role: Annotated[str, typer.Option("--as", help="The role that says yes, such as risk.")],
    comment: Annotated[str, typer.Option(help="For the record.")] = "",
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Approve a version that somebody else packaged.

    Example: penstock approve churn@1 --as risk --token pst_...
    """
    with answering(json=json):
        approval = approve(open_app(home, token=token), ref, role, comment=comment)
        show(
            approval,
            json=json,
            text=lambda: out.print(
                f"[bold]{approval.model}@{approval.version}[/] approved by {approval.by} as {approval.role}"
            ),
        )
