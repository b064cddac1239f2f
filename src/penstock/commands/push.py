"""`penstock push`: a version to an OCI registry."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.pushing import push
from penstock.app.transferring import Transferred
from penstock.commands.screen import DEFAULT_HOME, As, DryRun, Home, Json, answering, out, progress, show


def run(
    version: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    to: Annotated[str, typer.Argument(help="oci://HOST[:PORT]/REPOSITORY[:TAG]; without a tag the version's number.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the tag from the artifact that it names now.")
    ] = False,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Speak HTTP without TLS to a host that is not this one.")
    ] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Send a version's package as a ModelPack artifact, signature and all; what is there already is not sent again.

    Example: penstock push churn@1 oci://registry.example.com/models/churn
    """
    with answering(json=json):
        app = open_app(home, token=token)
        with progress("push", json=json) as step:
            made = push(app, version, to, plain_http=plain_http, replace=replace, dry_run=dry_run, on_step=step)
        show({**made._asdict(), "dry_run": dry_run}, json=json, text=lambda: _print(made, dry_run=dry_run))


def _print(made: Transferred, *, dry_run: bool) -> None:
    if not made.news:
        out.print(f"{made.ref} is there already: {made.place}")
    else:
        verb = "would push" if dry_run else "pushed"
        out.print(f"{verb} {made.ref} to {made.place}: {made.moved} of {made.files} files, {made.moved_bytes:,} bytes")
    out.print(f"  package  {made.digest}")
    out.print(f"  artifact {made.artifact}")
    if not dry_run:
        where, _, _ = made.place.rpartition(":")
        out.print(f"  next: penstock pull {where}@{made.artifact}")
