"""What a model card is made of, and how its figures are written.

Comes in: values as records have them. Goes out: texts, each beside the record that shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from penstock.packages.read import Package
from penstock.records import JSON, Event, Manifest, Record, Verdict
from penstock.registry.state import State, VersionState

NOT_SHOWN = "not shown"


class Fact(Record, frozen=True, kw_only=True):
    """One thing that is known: its name, its value as text, and the record that shows it."""

    name: str
    value: str
    evidence: str = ""

    @property
    def shown(self) -> bool:
        """Whether any record shows it."""
        return self.value != NOT_SHOWN


class CardTable(Record, frozen=True, kw_only=True):
    """Rows of one kind."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    evidence: str = ""


class CardSection(Record, frozen=True, kw_only=True):
    """Facts and tables under one heading; `key` is stable for programs."""

    key: str
    title: str
    facts: tuple[Fact, ...] = ()
    tables: tuple[CardTable, ...] = ()


@dataclass(frozen=True)
class Behind:
    """All that a card may say anything from.

    Attributes:
        state: The registry's.
        known: The version.
        package: Its package, verified.
        events: Those about the version, oldest first.
        wishes: Releases and rollbacks that name its package.
    """

    state: State
    known: VersionState
    package: Package
    events: tuple[Event, ...]
    wishes: tuple[Event, ...]

    @property
    def manifest(self) -> Manifest:
        """What the package says of itself."""
        return self.package.manifest

    @property
    def verdict(self) -> Verdict | None:
        """The gate's latest."""
        return self.known.verdict

    def event(self, kind: str) -> str:
        """The latest event of that kind about the version, as evidence."""
        found = [one for one in self.events if one.kind == kind]
        return evidence_of(found[-1]) if found else ""


def fact(name: str, value: str, evidence: str) -> Fact:
    """A fact; where there is no value, no record shows it."""
    return Fact(name=name, value=value, evidence=evidence) if value else Fact(name=name, value=NOT_SHOWN)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], evidence: str = "") -> CardTable:
    """A table of texts."""
    return CardTable(title=title, columns=tuple(columns), rows=tuple(tuple(row) for row in rows), evidence=evidence)


def evidence_of(event: Event) -> str:
    """``event 7 3fa9...``: number and hash."""
    return f"event {event.seq} {event.hash}"


def number(value: object) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return NOT_SHOWN
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return NOT_SHOWN if value is None or value == "" else str(value)


def moment(at: float) -> str:
    """``2013-05-01 06:00 UTC``; not shown for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else NOT_SHOWN


def table_of(shown: JSON, evidence: str) -> CardTable:
    """A finding's own table."""
    columns = [str(one) for one in cast("list[object]", shown["columns"])]
    rows = [[number(row[name]) for name in columns] for row in cast("list[JSON]", shown["rows"])]
    return table(str(shown["title"]), columns, rows, evidence)


def bars_of(plot: JSON, evidence: str) -> CardTable:
    """Named figures with their intervals, beside what they are held against."""
    columns = ("part", "value", "low", "high")
    rows = [[number(row[name]) for name in ("name", *columns[1:])] for row in cast("list[JSON]", plot["rows"])]
    if plot.get("limit") is not None:
        rows.append([str(plot.get("beside", "limit")), number(plot["limit"]), "", ""])
    return table(str(plot["title"]), columns, rows, evidence)
