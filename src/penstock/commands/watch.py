"""`penstock watch`: the status, kept up to date."""

from __future__ import annotations

import time

from rich.live import Live

from penstock.app.opening import open_app
from penstock.app.watching import status
from penstock.commands.screen import DEFAULT_HOME, As, Home, answering, out
from penstock.commands.status import table_of


def run(home: Home = DEFAULT_HOME, token: As = "") -> None:
    """Redraw the status each second until Ctrl-C.

    Example: penstock watch
    """
    with answering():
        app = open_app(home, token=token)
        with Live(table_of(status(app)), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(1.0)
                live.update(table_of(status(app)), refresh=True)
