"""`penstock status`: what runs, and how it does."""

from __future__ import annotations

from rich.table import Table

from penstock.app.opening import open_app
from penstock.app.watching import Status, status
from penstock.commands.screen import DEFAULT_HOME, As, Home, Json, answering, out, show


def run(home: Home = DEFAULT_HOME, token: As = "", json: Json = False) -> None:
    """Every endpoint: release, variants, traffic, latency, errors, open incidents.

    Example: penstock status
    """
    with answering(json=json):
        found = status(open_app(home, token=token))
        show(found, json=json, text=lambda: _print(found))


def _print(found: Status) -> None:
    out.print(table_of(found))
    for one in found.endpoints:
        if one.distrusted:
            out.print(f"[red]![/] {one.endpoint}: the signer of {', '.join(one.distrusted)} is trusted no longer")
            out.print("  it goes on answering from memory; no worker that starts from now on loads it")
            out.print(f"  try penstock key resign {one.distrusted[0]} --reason WHY, or release another version")


def table_of(found: Status) -> Table:
    """The status as people read it: one line an endpoint."""
    table = Table(box=None, pad_edge=False, caption=found.summary, caption_justify="left")
    for name in ("endpoint", "release", "phase", "variants", "requests", "p50", "p99", "errors", "incidents"):
        table.add_column(name, justify="right" if name in ("requests", "p50", "p99", "errors", "incidents") else "left")
    for one in found.endpoints:
        variants = ", ".join(f"{v.ref} {v.share:.0%}" for v in one.variants)
        table.add_row(
            one.endpoint,
            str(one.release),
            one.phase,
            variants,
            f"{one.requests:,}",
            f"{1000 * one.p50_s:.1f} ms",
            f"{1000 * one.p99_s:.1f} ms",
            f"{one.errors:,}",
            str(len(one.incidents)),
        )
    return table
