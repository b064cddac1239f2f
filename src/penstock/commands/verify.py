"""`penstock verify`: the chain, checked with nothing but the public key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.evidence import verify_home
from penstock.app.plain import fields_of
from penstock.commands.screen import DEFAULT_HOME, REFUSED, Home, Json, answering, out, show
from penstock.registry.verify import Verification


def run(
    public_key: Annotated[Path | None, typer.Option(help="A trusted copy of the chain's key.")] = None,
    head: Annotated[Path | None, typer.Option(help="A signed head kept outside the home.")] = None,
    home: Home = DEFAULT_HOME,
    json: Json = False,
) -> None:
    """Walk every event and every package; name the first byte that is not as it was written.

    Example: penstock verify --public-key signing.pub
    """
    with answering(json=json):
        found = verify_home(home, public_key=public_key, head=head)
        show(
            {"ok": found.ok, **fields_of(found)},
            json=json,
            text=lambda: _print(found),
        )
        if not found.ok:
            raise typer.Exit(REFUSED)


def _print(found: Verification) -> None:
    if found.ok:
        out.print(f"[green]✓[/] {found.events:,} events and {found.packages:,} packages are as they were written")
    for problem in found.problems:
        out.print(f"[red]✗[/] {problem}")
    for place in found.distrusted:
        out.print(f"[yellow]![/] {place}: nothing loads it, its signer is trusted no longer")
