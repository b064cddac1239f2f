"""Figures that tests of reliability reach, beside what they must be: kept as JSON lines, held at a test's end.

A figure of counts is held in every run. A figure of time is kept in every run and held only in the full form
(``PENSTOCK_FULL=1``) or where ``PENSTOCK_TIMED=1`` asks for it: on a machine that others share it says nothing.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

FULL = bool(os.environ.get("PENSTOCK_FULL"))
TIMED = FULL or bool(os.environ.get("PENSTOCK_TIMED"))
FILE = Path(os.environ.get("PENSTOCK_FIGURES", Path(__file__).parents[1] / "build" / "reliability" / "figures.jsonl"))


class Figure(NamedTuple):
    """One line of the table; `ok` is None for what is only noted."""

    goal: str
    figure: str
    reached: float | str
    must: str
    ok: bool | None
    held: bool
    test: str
    form: str
    at: float

    def line(self) -> str:
        verdict = {True: "ok", False: "NOT OK", None: ""}[self.ok]
        return f"{self.goal:4} {self.figure}: {self.reached} ({self.must or 'noted'}) {verdict}"


class Figures:
    """The figures of one test; `hold` ends it."""

    def __init__(self, goal: str, test: str) -> None:
        self.goal = goal
        self.test = test
        self.all: list[Figure] = []
        self.was_held = False

    def count(self, name: str, reached: float, *, at_most: float | None = None, at_least: float | None = None) -> None:
        """A figure that has nothing to do with how fast the machine is."""
        self._judge(name, reached, at_most, at_least, held=True)

    def timed(self, name: str, reached: float, *, at_most: float | None = None, at_least: float | None = None) -> None:
        """A figure of time or speed."""
        self._judge(name, round(reached, 4), at_most, at_least, held=TIMED)

    def note(self, name: str, reached: float | str) -> None:
        """Something to know beside the figures."""
        self._keep(Figure(self.goal, name, reached, "", None, False, *self._where()))

    def hold(self) -> None:
        """Print all, and fail where one that counts is not reached."""
        self.was_held = True
        print("\n".join(one.line() for one in self.all))
        wrong = [one.line() for one in self.all if one.held and one.ok is False]
        assert not wrong, "not reached: " + "; ".join(wrong)

    def _judge(self, name: str, reached: float, at_most: float | None, at_least: float | None, *, held: bool) -> None:
        assert at_most is not None or at_least is not None
        must = " and ".join(
            f"{sign} {limit:g}" for sign, limit in (("<=", at_most), (">=", at_least)) if limit is not None
        )
        ok = (at_most is None or reached <= at_most) and (at_least is None or reached >= at_least)
        self._keep(Figure(self.goal, name, reached, must, ok, held, *self._where()))

    def _where(self) -> tuple[str, str, float]:
        return self.test, "full" if FULL else "short", time.time()

    def _keep(self, one: Figure) -> None:
        self.all.append(one)
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with FILE.open("a") as file:
            file.write(json.dumps(one._asdict()) + "\n")


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
