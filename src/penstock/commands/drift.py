"""`penstock drift`: what moved since training, and whether it matters."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from penstock.app.opening import open_app
from penstock.app.views import EndpointView
from penstock.app.watching import drift
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show


def run(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Columns against their own limits, the label-free estimate, and the realised quality.

    Example: penstock drift churn
    """
    with answering(json=json):
        found = drift(open_app(home, token=token), endpoint)
        show(found, json=json, text=lambda: _tell(found))


def _tell(view: EndpointView) -> None:
    """The columns that moved most first; then quality, with what the estimate rests on."""
    table = Table(box=None, pad_edge=False)
    for name in ("column", "PSI", "own limit", ""):
        table.add_column(name)
    for one in sorted(view.drift, key=lambda column: -column.psi)[:20]:
        table.add_row(one.column, f"{one.psi:.3f}", f"{one.limit:.3f}", "moved" if one.moved else "")
    out.print(table if view.drift else "no window has closed yet")
    for point in view.quality[-5:]:
        estimated = "not estimable" if point.estimated is None else f"{point.estimated:.3f}"
        realised = "no outcomes yet" if point.realised is None else f"{point.realised:.3f}"
        out.print(f"{point.metric}: estimated {estimated}{'' if point.valid else ' (rejected)'}, realised {realised}")
    if view.assumption:
        out.print(f"[dim]{view.assumption}[/]")
