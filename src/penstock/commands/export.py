"""`penstock export`: a version as a folder that AWS Lambda, Google Cloud or Azure ML deploys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.exporting import KINDS, Exported, export_version
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, DryRun, Home, Json, answering, out, show


def run(
    version: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    to: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write package, handler, pinned requirements and the lines that deploy them; nothing is deployed.

    Example: penstock export churn@1 --to lambda --output churn-lambda
    """
    with answering(json=json):
        made = export_version(open_app(home, token=token), version, to, output, dry_run=dry_run)
        show({**made._asdict(), "folder": str(made.folder)}, json=json, text=lambda: _print(made, dry_run=dry_run))


def _print(made: Exported, *, dry_run: bool) -> None:
    out.print(f"{'would write' if dry_run else 'wrote'} {made.ref} for {made.kind} to {made.folder}")
    for name in made.files:
        out.print(f"  {name}")
    if not dry_run:
        out.print(f"how to deploy it: {made.folder / 'README.md'}")
