"""What every verb shares: its common options, how an answer or an error is shown, and which exit code it is.

With ``--json`` an answer is one JSON object on standard output and an error one on standard error, so that a
script never has to read prose. Progress goes to standard error, and only where somebody watches.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from penstock.app.plain import plain
from penstock.errors import PenstockError, Refused, TargetFailed, Unready

YES, REFUSED, ERROR, UNKNOWN = 0, 1, 2, 3

Home = Annotated[
    Path, typer.Option("--home", envvar="PENSTOCK_HOME", help="The folder that holds all state.", show_default=True)
]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, change nothing.")]
As = Annotated[
    str, typer.Option("--token", envvar="PENSTOCK_TOKEN", help="Whose token acts; the home folder's own by default.")
]
DEFAULT_HOME = Path(".penstock")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def show(answer: object, *, json: bool, text: Callable[[], None]) -> None:
    """Print an answer: as JSON, or by calling `text`, which prints for people."""
    if json:
        sys.stdout.write(msgspec.json.encode(plain(answer)).decode() + "\n")
    else:
        text()


@contextmanager
def answering(*, json: bool = False) -> Iterator[None]:
    """Turn an error into what a person or a script can act on, and the right exit code."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except PenstockError as error:
        raise _told(error, json=json) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except OSError as error:
        where = str(error.filename or "")
        raise _told(
            TargetFailed(
                error.strerror or type(error).__name__, "look at the place it names", where=where, code="cli.system"
            ),
            json=json,
        ) from error
    # The boundary to whoever typed: a fault of ours must not end with the exit code of a refusal.
    except Exception as error:
        if not json:
            traceback.print_exc()
        fault = TargetFailed(f"{type(error).__name__}: {error}", "this is a fault of Penstock's own", code="cli.fault")
        raise _told(fault, json=json) from error


def tell(error: PenstockError, *, json: bool) -> None:
    """Print an error: as one JSON object, or for people."""
    if json:
        problem = {"error": error.code, "message": error.message, "hint": error.hint, "where": error.where}
        sys.stderr.write(msgspec.json.encode(problem).decode() + "\n")
        return
    err.print(f"[red bold]✗[/] {_plain(error.where)}{': ' if error.where else ''}{_plain(error.message)}")
    if error.hint:
        err.print(f"  [dim]→[/] {_plain(error.hint)}")


def _told(error: PenstockError, *, json: bool) -> typer.Exit:
    """Print it; what is left is to exit with its code."""
    tell(error, json=json)
    return typer.Exit(REFUSED if isinstance(error, Refused) else UNKNOWN if isinstance(error, Unready) else ERROR)


@contextmanager
def progress(title: str, *, json: bool = False) -> Iterator[Callable[[str], None]]:
    """A spinner with the step under way, on a terminal; one line a step where nobody watches."""
    if json:
        yield lambda step: None
    elif err.is_terminal and not os.environ.get("NO_COLOR"):
        with err.status(title) as status:
            yield lambda step: status.update(f"{title}: {_plain(step)}")
    else:
        yield lambda step: err.print(f"{title}: {_plain(step)}")


def _plain(text: str) -> str:
    """Text as it is: square brackets in it are no markup."""
    return text.replace("[", r"\[")
