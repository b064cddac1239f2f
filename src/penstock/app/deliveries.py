"""Beside the turns: exporters are told what was answered, each in a thread of its own, so that a dead one slows nobody.

penstock.yaml: exporters --> Delivery (a cursor in the journals) --> run/exporters.json: how far each is
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import cast

from penstock.adapters import load
from penstock.app.app import App
from penstock.observe.delivery import LONGEST_PAUSE_S, Delivered, Delivery
from penstock.observe.exporter import Exporter
from penstock.records import Record, decode, encode
from penstock.tensors import Signature

SHOW_S = 1.0
STOP_S = 15.0
log = logging.getLogger("penstock.exports")


class DeliveryList(Record, frozen=True, kw_only=True):
    """Where each exporter stands."""

    exporters: tuple[Delivered, ...] = ()


class Deliveries:
    """The exporters of one home.

    Args:
        app: Penstock itself at work on the home.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = threading.Event()
        self._shown_at = 0.0
        self._known = {
            name: Delivery(
                app.home / "log",
                name,
                share=settings.share,
                exporter=cast("type[Exporter]", load("exporter", settings.kind))(name, settings),
                signature=self._signature,
            )
            for name, settings in app.config.exporters.items()
        }
        self._threads: list[threading.Thread] = []

    def turn(self) -> None:
        """Start what does not run yet, and say how far each is; returns at once."""
        if not self._threads:
            for name, delivery in self._known.items():
                thread = threading.Thread(target=self._run, args=(name, delivery), name=f"export-{name}", daemon=True)
                self._threads.append(thread)
                thread.start()
        if self._known and time.monotonic() - self._shown_at >= SHOW_S:
            self._shown_at = time.monotonic()
            self._show()

    def held(self) -> frozenset[str]:
        """Segments that somebody has not been told whole."""
        return frozenset().union(*(delivery.holds() for delivery in self._known.values()))

    def finish(self) -> None:
        """End each after the event it is at; a later start goes on there."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)

    def _run(self, name: str, delivery: Delivery) -> None:
        """Turn after turn."""
        while not self._stop.is_set():
            try:
                pause = delivery.turn()
            # The worker loop: an exporter that fails must not end the others, nor itself.
            except Exception:
                log.exception("telling on what %s answered failed", name)
                pause = LONGEST_PAUSE_S
            self._stop.wait(pause)
        delivery.close()

    def _signature(self, model: str, version: int) -> Signature:
        digest = self._app.resolve(f"{model}@{version}").version.digest
        return self._app.open_package(digest).manifest.signature

    def _show(self) -> None:
        kinds = self._app.config.exporters
        said = tuple(
            Delivered(
                endpoint=name,
                kind=kinds[name].kind,
                sent=one.sent,
                refused=one.refused,
                behind_s=one.behind_s,
                trouble=one.trouble,
            )
            for name, one in self._known.items()
        )
        _write(self._app.home, DeliveryList(exporters=said))


def read_deliveries(home: Path) -> DeliveryList:
    """Where each exporter stood a moment ago; none where nobody said."""
    try:
        return decode((home / "run" / "exporters.json").read_bytes(), DeliveryList)
    except FileNotFoundError:
        return DeliveryList()


def _write(home: Path, said: DeliveryList) -> None:
    scratch = home / "run" / "exporters.json.tmp"
    scratch.write_bytes(encode(said))
    scratch.replace(home / "run" / "exporters.json")
