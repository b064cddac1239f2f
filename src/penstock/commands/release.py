"""`penstock release`: traffic to a version."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.app.opening import open_app
from penstock.app.releasing import ReleaseRequest, plan_release, release, wait_until_settled
from penstock.app.tuning import tuned_wish
from penstock.commands.screen import DEFAULT_HOME, UNKNOWN, As, DryRun, Home, Json, answering, out, progress, show
from penstock.control.process import ensure_running, predictions_url
from penstock.web.links import console_link


def run(
    ref: Annotated[str, typer.Argument(help="NAME@3, NAME@champion or NAME.")],
    endpoint: Annotated[str, typer.Option(help="Where it answers; the model's name by default.")] = "",
    to: Annotated[str, typer.Option(help="The target that runs it.")] = "local",
    strategy: Annotated[str, typer.Option(help="at-once, blue-green, canary or shadow.")] = "at-once",
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    break_glass: Annotated[
        str, typer.Option(help="Release without a passing verdict, for this reason, for an hour.")
    ] = "",
    tune: Annotated[
        bool,
        typer.Option("--tune", help="First measure how it is served best: 5 to 15 s more."),
    ] = False,
    wait_s: Annotated[float, typer.Option(help="How long to wait for it to answer.")] = 30.0,
    home: Home = DEFAULT_HOME,
    token: As = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Release a version; what it needs is started in the background.

    Example: penstock release churn@2 --strategy canary
    """
    with answering(json=json):
        app = open_app(home, token=token)
        wish = ReleaseRequest(endpoint=endpoint, strategy=strategy, target=to, reason=reason, bypass=break_glass)
        if dry_run:
            planned = plan_release(app, ref, wish)
            show(planned, json=json, text=lambda: out.print(f"would release {ref} as revision {planned.revision}"))
            return
        if not break_glass:
            plan_release(app, ref, wish)  # what is refused starts nothing
        with progress("release", json=json) as step:
            step("starting what it needs")
            running = ensure_running(home)
            if tune:
                wish = tuned_wish(app, ref, wish, step)
            made = release(app, ref, wish)
            step("loading it, and proving its golden examples")
            settled = wait_until_settled(app, made, timeout_s=wait_s)
        console = console_link(app, running.console)
        answer = {
            "endpoint": made.endpoint,
            "url": predictions_url(home),
            "release": made.revision,
            "version": made.variants[-1].version if strategy == "shadow" else app.resolve(ref).version.version,
            "phase": settled,
            "console": console,
        }
        show(answer, json=json, text=lambda: _tell(made.endpoint, predictions_url(home), settled, console))
        if settled not in ("live", "shifting"):
            raise typer.Exit(UNKNOWN)


def _tell(endpoint: str, url: str, phase: str, console: str) -> None:
    """Where it answers."""
    out.print(f"[bold]{endpoint}[/] is {phase}")
    out.print(f"  predictions  {url}/v2/models/{endpoint}/infer")
    out.print(f"  console      {console}")
