"""Are the rows still what the model was built for? Missing values, unseen categories, numbers out of range.

For each column and each of the two shares (missing; unusual) an e-detector bets that it is 3, 10 or 30 times what is
ordinary (in odds), and says so after a few hundred rows: a page where it concerns 1 % of the rows or more. Where the
reference's days differ, hours of a fault come and go by themselves; there a burst is recorded, and only what lasts
is a page (half the rows of a day, or 1 % on three days in a row).

Source of the rules: Breck et al., Data Validation for Machine Learning, MLSys 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.observe.detector import Reading, Severity, Source
from penstock.observe.faults import POOL_H, ColumnFault
from penstock.observe.windows import Window
from penstock.statistics import blocks, edetectors
from penstock.statistics.edetectors import SCHEMA_ODDS
from penstock.statistics.histograms import Histogram
from penstock.statistics.reference import Reference

Floats = npt.NDArray[np.float64]
Kind = Literal["missing", "unusual"]
KINDS: tuple[Kind, ...] = ("missing", "unusual")
WORDS: dict[Kind, str] = {
    "missing": "has no value",
    "unusual": "is in no category that the model knows, or far outside its range",
}

LEVEL = 1e6
"""One false alarm in so many rows, at most, over all columns together."""


@dataclass
class SchemaDetector:
    """Missing and unusual values; columns that fail together are one incident."""

    source: Source = "predictions"
    _start_h: int = 0
    _faults: dict[tuple[str, Kind], ColumnFault] = field(default_factory=dict)
    _log_m: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def fit(self, reference: Reference) -> None:
        """What is ordinary, of every column and kind."""
        self._start_h = reference.start_h
        windows = reference.window(6) or reference.window(24)
        self._faults = {}
        for name, histogram in reference.profile.columns.items():
            for kind in KINDS:
                shares = {} if windows is None else windows.missing if kind == "missing" else windows.unusual
                # "Rule of three": the upper 95 % bound of a share that was never seen in n rows is 3 / n.
                share = (_events(histogram, kind) + 3) / max(histogram.rows, 6)
                self._faults[name, kind] = ColumnFault(share, shares.get(name, 0.0), by_day=False)
        by_day = any(fault.bursts for fault in self._faults.values()) or (
            reference.loss is not None and reference.loss.known and reference.loss.clustered
        )
        for fault in self._faults.values():
            fault.by_day = by_day
        self._log_m = np.full((len(self._faults), len(SCHEMA_ODDS)), -np.inf)

    def hours(self) -> int:
        """Windows of an hour."""
        return 1

    def score(self, window: Window) -> list[Reading]:
        """One reading for each kind of fault."""
        day = int(blocks.block_of(window.rows.times[:1], 24, self._start_h)[0]) if len(window.rows) else 0
        columns = window.profile.columns
        counts = [
            (_events(columns[name], kind), columns[name].rows) if name in columns else (0, 0)
            for name, kind in self._faults
        ]
        if not any(rows for _, rows in counts):
            return []
        events, rows = np.array(counts).T
        ordinary = [fault.ordinary for fault in self._faults.values()]
        factors = edetectors.share_factors(events, rows, ordinary)
        self._log_m, track = edetectors.advance_many(self._log_m, factors)
        alarms = track >= math.log(LEVEL * len(self._faults))
        self._log_m[alarms] = -np.inf
        for place, fault in enumerate(self._faults.values()):
            if counts[place][1]:
                fault.turn(*counts[place], day=day, alarm=bool(alarms[place]), likely=bool(factors[place, 0] > 0))
        return [self._reading(kind) for kind in KINDS]

    def _reading(self, kind: Kind) -> Reading:
        raised = {name: fault for (name, of), fault in self._faults.items() if of == kind and fault.raised}
        cause = f"schema:{kind}"
        if not raised:
            return Reading(cause=cause, raised=False)
        names = sorted(raised, key=lambda name: (-raised[name].pages(), -raised[name].share(POOL_H)))
        worst = raised[names[0]]
        severity: Severity = "page" if worst.pages() else "record"
        lasts = "two days" if worst.by_day else "two hours"
        guarantee = f"one false alarm in {LEVEL:,.0f} rows over all columns, at most, where rows are independent"
        return Reading(
            cause=cause,
            raised=True,
            severity=severity,
            title=f"{', '.join(names)} {WORDS[kind]}",
            effect=f"{names[0]}: {worst.share(POOL_H):.2%} of the rows of the last hours, ordinary is"
            f" {worst.ordinary:.2%}; the model was not trained on such rows",
            guarantee=guarantee + ("; a page only where it lasts" if worst.by_day else ""),
            closes=f"{lasts} without it",
            columns=tuple(names),
            measured={f"share {name}": round(fault.share(POOL_H), 6) for name, fault in raised.items()},
        )


def _events(histogram: Histogram, kind: Kind) -> int:
    return histogram.missing if kind == "missing" else histogram.unusual
