"""`penstock check`: the gate's verdict on a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from penstock.app.checking import CheckRequest, check, report_path
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, REFUSED, UNKNOWN, As, Home, Json, answering, out, progress, show
from penstock.gate.data import parse_sources
from penstock.records import Verdict

MARKS = {"pass": "[green]✓ pass   [/]", "refuse": "[red]✗ refuse [/]", "unknown": "[yellow]? unknown[/]"}
CODES = {"pass": 0, "refuse": REFUSED, "unknown": UNKNOWN}


def run(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of the data that the package names: one file, or train=F validation=F test=F, as `package`"
            " takes them."
        ),
    ] = None,
    label: Annotated[
        str, typer.Option(help="The column that holds the truth; the one named at packaging by default.")
    ] = "",
    policy: Annotated[Path | None, typer.Option(help="A policy file; the starter policy by default.")] = None,
    champion: Annotated[str, typer.Option(help="Compare with this version; the alias champion by default.")] = "",
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Ask whether a version may go out: exit code 0 yes, 1 refused, 3 not enough evidence.

    Example: penstock check churn@1

    On other rows: penstock check churn@1 --data train=train.parquet --data validation=june.parquet --label churned
    """
    with answering(json=json):
        app = open_app(home, token=token)
        tables = parse_sources(data) if data else {}
        with progress("check", json=json) as step:
            request = CheckRequest(tables=tables, label=label, policy=policy, champion=champion)
            verdict = check(app, ref, request, on_step=step)
        answer = {
            "verdict": verdict.outcome,
            "model": verdict.model,
            "version": verdict.version,
            "policy": verdict.policy,
            "champion": verdict.champion,
            "datasets": verdict.datasets,
            "findings": verdict.findings,
            "report": str(report_path(app, verdict)),
        }
        show(answer, json=json, text=lambda: _tell(verdict, report_path(app, verdict)))
        if verdict.outcome != "pass":
            raise typer.Exit(CODES[verdict.outcome])


def _tell(verdict: Verdict, report: Path) -> None:
    """One line a finding, which of them decided, the report's place, and what to type next."""
    for finding in verdict.findings:
        open_one = finding.outcome != "pass"
        advice = "[dim](advice)[/] " if open_one and not finding.blocking else ""
        out.print(f"{MARKS[finding.outcome]} [bold]{finding.check}[/]  {advice}{escape(finding.message)}")
        if open_one and finding.remedy:
            out.print(f"            [dim]{escape(finding.remedy)}[/]")
    ref = f"{verdict.model}@{verdict.version}"
    stands = sum(finding.blocking and finding.outcome != "pass" for finding in verdict.findings)
    why = f", {stands} of {len(verdict.findings)} answers block" if stands else ""
    out.print(f"[bold]{ref}: {verdict.outcome}[/]{why}, in {verdict.seconds:.1f} s; report: {report}")
    if verdict.outcome == "pass":
        out.print(f"  next: penstock release {ref}")
