"""`penstock predict`: a file's rows through an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.predicting import predict
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show
from penstock.gate.data import read_frame


def run(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    data: Annotated[Path, typer.Option(help="Rows to predict for (CSV or Parquet).")],
    output: Annotated[Path | None, typer.Option(help="Write the answers here (.csv or .parquet).")] = None,
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Ask an endpoint over HTTP, as any client would.

    Example: penstock predict churn --data new.parquet
    """
    with answering(json=json):
        answers = predict(open_app(home, token=token), endpoint, read_frame(data))
        frame = answers.frame()
        if output is not None:
            frame.to_parquet(output) if output.suffix == ".parquet" else frame.to_csv(output, index=False)
        columns = {str(name): frame[name].tolist() for name in frame}
        show(columns, json=json, text=lambda: out.print(frame.head(10).to_string(index=False)))
