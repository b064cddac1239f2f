"""`penstock compress`: a cheaper form of a version that still passes its gates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from penstock.app.compressing import Compressed, CompressRequest, compress, table_rows
from penstock.app.opening import open_app
from penstock.app.plain import fields_of
from penstock.app.trials import By
from penstock.commands.screen import (
    DEFAULT_HOME,
    REFUSED,
    UNKNOWN,
    As,
    DryRun,
    Home,
    Json,
    answering,
    out,
    progress,
    show,
)
from penstock.records import Limits, Scalar

REASON = "why not"
COLOURS = {"pass": "green", "refuse": "red", "unknown": "yellow"}
WIDE = 240
"""Characters in which the whole table has room."""


def run(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    kind: Annotated[
        list[str] | None,
        typer.Option(help="One way alone: graph_optimization, float16, dynamic_int8, static_int8, pruning."),
    ] = None,
    graph: Annotated[list[Path] | None, typer.Option(help="A graph of your own, judged like the others.")] = None,
    flips: Annotated[float, typer.Option(min=0, max=1, help="Largest share of labels that may differ.")] = (
        CompressRequest().flips
    ),
    tolerance: Annotated[float, typer.Option(min=0, help="How far 99 of 100 rows may lie from the parent.")] = (
        CompressRequest().tolerance
    ),
    by: Annotated[By, typer.Option(help="What is to be least: cost or size.")] = "cost",
    batch: Annotated[int, typer.Option(min=1, help="Rows in a run when processor time is measured.")] = 32,
    price: Annotated[float, typer.Option(min=0, help="Of an hour of one processor, in your money.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="Time of measuring for each form.")] = 2.0,
    p99: Annotated[float, typer.Option(min=1e-6, help="Seconds within which 99 of 100 runs have to end.")] = (
        CompressRequest().p99_s
    ),
    label: Annotated[
        str, typer.Option(help="The column that holds the truth; the one named at packaging by default.")
    ] = "",
    policy: Annotated[Path | None, typer.Option(help="A policy file; the home's by default.")] = None,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Try smaller and quicker forms, hold each to the gate, register the cheapest that passes.

    Exit code 0 where there is one, 1 where the gate or the figures refuse all, 3 where evidence is lacking.

    Example: penstock compress churn@1 --price 0.04
    """
    with answering(json=json):
        app = open_app(home, token=token)
        request = CompressRequest(
            kinds=tuple(kind or ()),
            graphs=tuple(map(str, graph or ())),
            flips=flips,
            tolerance=tolerance,
            by=by,
            batch=batch,
            seconds=seconds,
            p99_s=p99,
            price=price,
            label=label,
            policy=str(policy) if policy else "",
            dry_run=dry_run,
        )
        with progress(f"compress {ref}", json=json) as step:
            found = compress(app, ref, request, on_step=step)
        answer = {**fields_of(found), "table": table_rows(found), "dry_run": dry_run}
        show(answer, json=json, text=lambda: _tell(found))
        if not found.chosen:
            raise typer.Exit(UNKNOWN if any(one.outcome == "unknown" for one in found.tried) else REFUSED)


def _tell(found: Compressed) -> None:
    """The table, the choice, and what to type next."""
    rows = table_rows(found)
    # A file has no edge; a narrow window leaves out the other ways of running rather than the ends of figures.
    wide = not out.is_terminal or out.width >= WIDE
    names = [name for name in rows[0] if name != REASON and (wide or not name.endswith("p50 / p99, us"))]
    shown = Table(box=None, pad_edge=False)
    for name in names:
        shown.add_column(name, justify="left" if name in ("form", "gate") else "right")
    for row in rows:
        # What could not be made has no figures, and the gate was not asked.
        made = row["size, KB"] is not None
        cells = [_cell(row[name]) for name in names]
        shown.add_row(*(cells if made else [cells[0], *("" for _ in cells[2:]), "–"]), style=_style(row, made=made))
    page = out if out.is_terminal else Console(file=out.file, width=WIDE, highlight=False, soft_wrap=True)
    page.print(shown)
    if not wide:
        out.print("[dim]  each form's other ways of running: in a wider window, or with --json[/]")
    for row in rows:
        if row[REASON]:
            out.print(f"[dim]  {_cell(row['form'])}: {_cell(row[REASON])}[/]")
    out.print(f"[bold]{'chosen' if found.chosen else 'none'}[/]: {_cell(found.why)}")
    if found.version is not None:
        out.print(f"  registered as {found.version.ref}, made of {found.parent}")
        words = _said(found.limits)
        if words:
            out.print(f"  as measured it runs with limits: {words}", markup=False)
        out.print(f"  next: penstock release {found.version.ref}")


def _said(limits: Limits) -> str:
    """What differs from the defaults, as penstock.yaml has it."""
    said = [f"sizing: {{threads: {limits.sizing.threads}}}"] if limits.sizing.threads > 1 else []
    said += [f"batching: {{rows: {limits.batching.rows}}}"] if limits.batching.rows else []
    return f"{{{', '.join(said)}}}" if said else ""


def _style(row: dict[str, Scalar], *, made: bool) -> str:
    """By what the gate says of it."""
    return COLOURS[str(row["gate"])] if made else "dim"


def _cell(value: Scalar) -> str:
    """A figure or a word as the table shows it."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value).replace("[", r"\[")
