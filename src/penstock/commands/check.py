"""`penstock check`: the gate's verdict on a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from penstock.app.checking import CheckRequest, check, report_path
from penstock.app.opening import open_app
from penstock.commands.screen import DEFAULT_HOME, REFUSED, UNKNOWN, As, Home, Json, answering, out, progress, show
from penstock.gate.data import parse_sources
from penstock.records import Verdict

MARKS = {"pass": "[green]✓ pass   [/]", "refuse": "[red]✗ refuse [/]", "unknown": "[yellow]? unknown[/]"}
CODES = {"pass": 0, "refuse": REFUSED, "unknown": UNKNOWN}


def run(
    ref: Annotated[str, typer.Argument(help="NAME, NAME@3 or NAME@champion.")],
    data: Annotated[list[str] | None, typer.Option(help="Instead of the data the package names.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A policy file; the starter policy by default.")] = None,
    champion: Annotated[str, typer.Option(help="Compare with this version; the alias champion by default.")] = "",
    home: Home = DEFAULT_HOME,
    token: As = "",
    json: Json = False,
) -> None:
    """Ask whether a version may go out: exit code 0 yes, 1 refused, 3 not enough evidence.

    Example: penstock check churn@1
    """
    with answering(json=json):
        app = open_app(home, token=token)
        tables = parse_sources(data) if data else {}
        with progress("check", json=json) as step:
            verdict = check(app, ref, CheckRequest(tables=tables, policy=policy, champion=champion), on_step=step)
        answer = {
            "verdict": verdict.outcome,
            "model": verdict.model,
            "version": verdict.version,
            "findings": verdict.findings,
            "report": str(report_path(app, verdict)),
        }
        show(answer, json=json, text=lambda: _tell(verdict, report_path(app, verdict)))
        if verdict.outcome != "pass":
            raise typer.Exit(CODES[verdict.outcome])


def _tell(verdict: Verdict, report: Path) -> None:
    """One line a finding, then the report's place."""
    for finding in verdict.findings:
        out.print(f"{MARKS[finding.outcome]} [bold]{finding.check}[/]  {finding.message}".replace("[1", r"\[1"))
        if finding.outcome != "pass" and finding.remedy:
            out.print(f"            [dim]{finding.remedy}[/]")
    out.print(
        f"[bold]{verdict.model}@{verdict.version}: {verdict.outcome}[/] in {verdict.seconds:.1f} s; report: {report}"
    )
