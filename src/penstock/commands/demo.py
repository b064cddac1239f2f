"""`penstock demo`: the whole journey, on real flights."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from penstock.commands.screen import Json, answering, show
from penstock.control.process import stop
from penstock.demo.cast import ENDPOINT
from penstock.demo.narration import Narrator
from penstock.demo.picture import take_picture
from penstock.demo.story import tell


def run(
    folder: Annotated[Path, typer.Option(help="Where it plays; what an earlier demo left there is removed.")] = Path(
        "demo"
    ),
    keep_up: Annotated[bool, typer.Option(help="Leave it running at the end, watched or not.")] = False,
    json: Json = False,
) -> None:
    """Train, gate, release, replay eight months, retrain, canary, take back a silent fault, trace, verify.

    Example: penstock demo
    """
    with answering(json=json):
        narrator = Narrator(quiet=json)
        home = folder.absolute() / "home"
        # A closed terminal must not leave the demo's processes behind.
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, lambda number, frame: sys.exit(128 + number))
        try:
            cast = tell(home, narrator)
            picture = take_picture(cast.login(f"/endpoints/{ENDPOINT}"), folder / "console.png")
            narrator.tell(f"picture   {picture}")
            narrator.tell(f"console   {cast.login()}")
            show(cast.figures, json=json, text=lambda: None)
            if keep_up or (narrator.is_terminal and not json):
                narrator.tell("it stays up until Ctrl-C")
                while True:
                    time.sleep(3600)
        finally:
            if not keep_up:
                stop(home)
