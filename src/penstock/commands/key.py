"""`penstock key`: whose packages this home believes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from penstock.app.keys import (
    KeyChange,
    KeyLine,
    list_keys,
    remove_key,
    resign,
    revoke_key,
    rotate_key,
    trust_key,
)
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, As, DryRun, Home, Json, answering, out, show
from penstock.errors import InvalidInput

SHOWN = 16
"""Digits of a hint that people are shown; they name the key, too."""


class KeyAct(StrEnum):
    """What is to be done."""

    list = "list"
    rotate = "rotate"
    trust = "trust"
    revoke = "revoke"
    remove = "remove"
    resign = "resign"


def run(
    act: Annotated[KeyAct, typer.Argument(help="What to do.")] = KeyAct.list,
    what: Annotated[str, typer.Argument(help="A key's hint or file; for resign a version.")] = "",
    reason: Annotated[str, typer.Option(help="Why; revoke and resign need one.")] = "",
    since: Annotated[float, typer.Option(help="Revoke: since when others may have it, seconds since 1970.")] = 0.0,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """List, rotate, trust, revoke or remove keys that sign packages; sign good packages anew.

    Example: penstock key revoke 3f9a21c0 --reason "the build machine was stolen" --dry-run
    """
    with answering(json=json):
        app = open_app(home, token=token)
        if act is KeyAct.list:
            lines = list_keys(app)
            show({"keys": lines}, json=json, text=lambda: out.print(_table(lines)))
            return
        if not what and act is not KeyAct.rotate:
            raise InvalidInput("it is not said which", f"penstock key {act.value} WHICH", code="cli.usage")
        if act is KeyAct.resign:
            made = resign(app, what, reason=reason, dry_run=dry_run)
            ref = f"{made.model}@{made.version}"
            show(
                {"ref": ref, "digest": made.digest, "signer": made.signer, "dry_run": dry_run},
                json=json,
                text=lambda: out.print(f"{'would sign' if dry_run else 'signed'} {ref} by {made.signer[:SHOWN]}"),
            )
            return
        if act is KeyAct.rotate:
            change = rotate_key(app, reason=reason, dry_run=dry_run)
        elif act is KeyAct.trust:
            change = trust_key(app, Path(what), reason=reason, dry_run=dry_run)
        elif act is KeyAct.revoke:
            change = revoke_key(app, what, reason=reason, at=since, dry_run=dry_run)
        else:
            change = remove_key(app, what, reason=reason, dry_run=dry_run)
        answer = {"act": act.value, "key": change.key, "rotated": change.rotated, "dry_run": dry_run}
        show(answer, json=json, text=lambda: _print(act, change, dry_run=dry_run))


def _table(lines: tuple[KeyLine, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("key", "standing", "versions", "answering", "reason"):
        table.add_column(name, justify="right" if name == "versions" else "left")
    for one in lines:
        table.add_row(
            one.hint[:SHOWN], one.standing, str(len(one.versions)), ", ".join(one.endpoints), escape(one.reason)
        )
    return table


def _print(act: KeyAct, change: KeyChange, *, dry_run: bool) -> None:
    key = change.key
    out.print(f"{'would ' if dry_run else ''}{act.value} [bold]{key.hint[:SHOWN]}[/]: {key.standing}")
    if change.rotated:
        out.print(f"  from now on {change.rotated[:SHOWN]} signs")
    if act not in (KeyAct.revoke, KeyAct.remove):
        return
    for ref in key.versions:
        out.print(f"  {ref} is refused from now on; if it is good: penstock key resign {ref} --reason WHY")
    for endpoint in key.endpoints:
        out.print(f"  [red]![/] {endpoint} goes on answering from memory; no worker that starts now loads it")
