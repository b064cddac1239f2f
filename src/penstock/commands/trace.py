"""`penstock trace`: everything that stands behind one prediction."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.app.evidence import Trace, trace
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show


def run(
    prediction: Annotated[str, typer.Argument(help="The id that came with the answer, such as 6f2c.0.")],
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """From a prediction back to version, package, data, code, gate report and approvals.

    Example: penstock trace 01JD3Q8ZK4.0
    """
    with answering(json=json):
        found = trace(open_app(home, token=token), prediction)
        show(found, json=json, text=lambda: tell_trace(found))


def tell_trace(found: Trace) -> None:
    """The chain, one link a line."""
    line = found.line
    out.print(f"[bold]prediction[/]  {found.prediction}  by {line.model}@{line.version} as {line.variant}")
    out.print(f"[bold]package[/]     {found.package}")
    out.print(f"[bold]lock[/]        {found.lock or 'none'}")
    for dataset in found.datasets:
        out.print(f"[bold]data[/]        {dataset.role}: {dataset.digest} ({dataset.rows:,} rows)")
    for name, value in found.source.items():
        out.print(f"[bold]code[/]        {name}: {value}")
    if found.verdict is not None:
        out.print(f"[bold]gate[/]        {found.verdict.outcome}; report {found.verdict.report}")
    for approval in found.approvals:
        out.print(f"[bold]approved[/]    by {approval.by} as {approval.role}")
    for outcome in found.outcomes:
        out.print(f"[bold]outcome[/]     {outcome.value}")
    for kind, place in found.events.items():
        out.print(f"[dim]event       {kind}: {place}[/]")
    for gap in found.missing:
        out.print(f"[yellow]not shown[/]   {gap}")
