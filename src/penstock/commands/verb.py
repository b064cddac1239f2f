"""A verb as it is run: its options parsed, its errors told in the form that was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import cast

import typer

MISUSED = cast(
    "type[Exception]", next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
)
"""What typer raises for words it cannot take; it gives the class no public name."""


def run_verb(run: Callable[..., None], name: str, words: list[str]) -> None:
    """Run a verb; a script that asked for JSON gets JSON also for words that the verb does not know."""
    verb = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    verb.command(help=None)(run)
    if "--json" not in words:
        verb(args=words, prog_name=f"penstock {name}")
        return
    try:
        sys.exit(verb(args=words, prog_name=f"penstock {name}", standalone_mode=False))
    except MISUSED as error:
        problem = {"error": "cli.usage", "message": str(error), "hint": f"penstock {name} --help", "where": ""}
        typer.echo(json.dumps(problem), err=True)
        sys.exit(2)
