"""`penstock outcome`: what turned out to be true, by prediction id."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.outcomes import outcomes_from_table, record_outcomes
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show
from penstock.gate.data import read_frame


def run(
    endpoint: Annotated[str, typer.Argument(help="The endpoint that predicted.")],
    file: Annotated[Path, typer.Argument(help="Columns prediction and value, and at (epoch seconds) where known.")],
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Record outcomes; they are on disk before this answers.

    Example: penstock outcome churn outcomes.csv
    """
    with answering(json=json):
        app = open_app(home, token=token)
        count = record_outcomes(app, endpoint, outcomes_from_table(read_frame(file)))
        show(
            {"endpoint": endpoint, "recorded": count}, json=json, text=lambda: out.print(f"recorded {count:,} outcomes")
        )
