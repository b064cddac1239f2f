"""The `penstock` command: a table of verbs, each loaded when it is typed.

One command is one call into `penstock.app`; what a verb does, takes and prints stands in its own file in
``commands/``. Exit codes: 0 yes, 1 refused, 2 error, 3 not enough evidence yet.
"""

from __future__ import annotations

import json
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import cast

import typer

MISUSED = cast(
    "type[Exception]", next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
)
"""What typer raises for words it cannot take; it gives the class no public name."""

VERBS = {
    "demo": ("demo", "The whole journey of a model on real data, narrated."),
    "package": ("package", "Turn a trained model into a package: open, compile, check parity, register."),
    "check": ("check", "Ask the gate: may this version go out?"),
    "approve": ("approve", "Say yes to a version, as somebody other than its author."),
    "release": ("release", "Send traffic to a version."),
    "rollback": ("rollback", "Take an endpoint back to an earlier release, at once."),
    "up": ("up", "Start the control plane, the data plane and the console on this machine."),
    "down": ("down", "Stop them; what they hold is finished first."),
    "predict": ("predict", "Ask an endpoint, row by row, for a file."),
    "outcome": ("outcome", "Tell an endpoint what turned out to be true."),
    "status": ("status", "What runs, and how it does."),
    "watch": ("watch", "The same, kept up to date."),
    "drift": ("drift", "What moved since the model was trained, and whether it matters."),
    "serve": ("serve", "Answer predictions from one package folder, with no control plane."),
    "trace": ("trace", "From one prediction back to package, data, code, gate report and approval."),
    "verify": ("verify", "Walk the chain of evidence with nothing but the public key."),
    "token": ("token", "Give an identity a token, or take it back."),
    "doctor": ("doctor", "What this machine can do, and what it lacks."),
}


def main() -> None:
    """Find the verb, import its file, run it."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        _list_verbs()
    elif words[0] in ("--version", "version"):
        typer.echo(f"penstock {import_module('penstock').__version__}")
    elif words[0] in VERBS:
        verb = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        verb.command(help=None)(import_module(f"penstock.commands.{VERBS[words[0]][0]}").run)
        _run(verb, words[0], words[1:])
    else:
        near = get_close_matches(words[0], VERBS, n=1)
        typer.echo(f"no  there is no verb of that name{f'; did you mean {near[0]}?' if near else ''}", err=True)
        typer.echo("    try penstock --help", err=True)
        sys.exit(2)


def _run(verb: typer.Typer, name: str, words: list[str]) -> None:
    """Run a verb; a script that asked for JSON gets JSON also for words that the verb does not know."""
    if "--json" not in words:
        verb(args=words, prog_name=f"penstock {name}")
        return
    try:
        sys.exit(verb(args=words, prog_name=f"penstock {name}", standalone_mode=False))
    except MISUSED as error:
        problem = {"error": "cli.usage", "message": str(error), "hint": f"penstock {name} --help", "where": ""}
        typer.echo(json.dumps(problem), err=True)
        sys.exit(2)


def _list_verbs() -> None:
    """Every verb with its one line, in the order of a model's journey."""
    typer.echo(
        "usage: penstock VERB ...\n\n"
        "Takes trained machine-learning models into production and keeps them right there.\n"
    )
    for name, (_, text) in VERBS.items():
        typer.echo(f"  {name:<9} {text}")
    typer.echo("\nEvery verb has --help with an example, and --json.")
