"""`penstock pull`: a package of an OCI registry becomes a version in this home."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.app.transferring import Transferred
from penstock.commands.screen import DEFAULT_HOME, As, DryRun, Home, Json, answering, out, progress, show


def run(
    source: Annotated[str, typer.Argument(help="oci://HOST[:PORT]/REPOSITORY[:TAG] or ...@sha256:HEX.")],
    trust: Annotated[
        Path | None, typer.Option(help="A signer's package.pub, to be trusted from now on; administrators only.")
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Speak HTTP without TLS to a host that is not this one.")
    ] = False,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Fetch a package, check each byte against its signature, and register it; the registry itself is not trusted.

    Example: penstock pull oci://registry.example.com/models/churn:1 --trust their-package.pub
    """
    with answering(json=json):
        app = open_app(home, token=token)
        with progress("pull", json=json) as step:
            made = pull(app, source, trust=trust, plain_http=plain_http, dry_run=dry_run, on_step=step)
        show({**made._asdict(), "dry_run": dry_run}, json=json, text=lambda: _print(made, dry_run=dry_run))


def _print(made: Transferred, *, dry_run: bool) -> None:
    if not made.news:
        out.print(f"{made.ref} is that package already")
    elif dry_run:
        out.print(f"would pull {made.place}: {made.files} files, {made.moved_bytes:,} bytes, signed by a trusted key")
    else:
        out.print(f"[bold]{made.ref}[/] from {made.place}: {made.files} files, {made.moved_bytes:,} bytes")
    out.print(f"  package  {made.digest}")
    out.print(f"  artifact {made.artifact}")
    if made.news and not dry_run:
        out.print(f"  next: penstock check {made.ref} --data FILE")
