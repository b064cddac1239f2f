"""`penstock tune`: workers, threads and batches for an endpoint, measured and chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from penstock.app.opening import open_app
from penstock.app.plain import fields_of
from penstock.app.releasing import wait_until_settled
from penstock.app.tuning import TuneRequest, apply_tuned, tune_endpoint
from penstock.commands.screen import DEFAULT_HOME, UNKNOWN, As, Home, Json, answering, out, progress, show
from penstock.console.tuned import tuned_page
from penstock.control.process import ensure_running
from penstock.tuning.search import Trial
from penstock.tuning.tune import Tuned


def run(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    p99_ms: Annotated[
        float, typer.Option(min=0, help="The p99 to keep, in ms; the release's own latency guard by default.")
    ] = 0.0,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Time of load; all of it takes about twice.")] = 25.0,
    apply: Annotated[bool, typer.Option("--apply", help="Release the same version with what was chosen.")] = False,
    page: Annotated[Path | None, typer.Option(help="Where the page with the curves goes; in the home by default.")] = (
        None
    ),
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Measure how an endpoint is served best, beside what answers it, and show the curve that it was chosen from.

    Example: penstock tune churn --p99-ms 20 --apply
    """
    with answering(json=json):
        app = open_app(home, token=token)
        with progress(f"tune {endpoint}", json=json) as step:
            tuned = tune_endpoint(app, endpoint, TuneRequest(p99_s=p99_ms / 1000, seconds=seconds), step)
        place = page or app.home / "reports" / f"tune-{endpoint}.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(tuned_page(tuned, endpoint), encoding="utf-8")
        answer: dict[str, object] = {
            "endpoint": endpoint,
            "chosen": tuned.chosen.setting.label,
            "why": tuned.why,
            **fields_of(tuned),
            "page": str(place),
        }
        phase = ""
        if apply and tuned.chosen.setting != tuned.present.setting:
            ensure_running(home)
            made = apply_tuned(app, endpoint, tuned)
            phase = wait_until_settled(app, made, timeout_s=60.0)
            answer |= {"release": made.revision, "phase": phase}
        show(answer, json=json, text=lambda: _tell(tuned, place, phase))
        if not tuned.kept or phase not in ("", "live"):
            raise typer.Exit(UNKNOWN)


def _tell(tuned: Tuned, place: Path, phase: str) -> None:
    out.print(table_of(tuned))
    out.print(f"[bold]{tuned.chosen.setting.label}[/]: {tuned.why}")
    out.print(f"[dim]curves: {place}[/]")
    if phase:
        out.print(f"released with it: {phase}")
    elif tuned.chosen.setting != tuned.present.setting:
        out.print("[dim]--apply releases the same version with it[/]")


def table_of(tuned: Tuned) -> Table:
    """Every setting at its best point that keeps the latency, and how far it came."""
    table = Table(box=None, pad_edge=False)
    for name in ("", "setting", "answers/s", "connections", "p50", "p99", "CPU", "rounds"):
        table.add_column(name, justify="left" if name in ("", "setting") else "right", no_wrap=True)
    for trial in tuned.trials:
        table.add_row(*_row(trial, tuned))
    return table


def _row(trial: Trial, tuned: Tuned) -> list[str]:
    mark = "*" if trial is tuned.chosen else "now" if trial is tuned.present else ""
    best = trial.best(tuned.p99_s)
    if best is None:
        return [mark, trial.setting.label, "-", "", "", f"> {1000 * tuned.p99_s:g} ms", "", str(trial.rounds)]
    return [
        mark,
        trial.setting.label,
        f"{best.apart_per_s:,.0f}",
        str(best.connections),
        f"{1000 * best.p50_s:.2f} ms",
        f"{1000 * best.p99_s:.2f} ms",
        f"{1e6 * best.cpu_s:,.0f} us",
        str(trial.rounds),
    ]
