"""What the report shows of groups: their figures as tables and bars (part of ``gate``).

What comes in: figures of groups. What goes out: plain data for a finding's evidence.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.gate.disparity import Grouped, error_tallies
from penstock.gate.evidence import table
from penstock.records import JSON, Scalar
from penstock.statistics.fairness import Quotient
from penstock.statistics.metrics import Answers


def class_table(grouped: Grouped, tallies: Mapping[str, Quotient], name: str) -> JSON:
    """Every figure of every group, of one class."""
    return table(f"Groups of {grouped.groups.column}, answered {name}", _rows(grouped, tallies))


def error_table(grouped: Grouped, answers: Answers) -> JSON:
    """Every figure of every group, of a regression; an error is answer minus truth."""
    return table(f"Errors in groups of {grouped.groups.column}", _rows(grouped, error_tallies(answers)))


def short(value: float) -> str:
    """``0.213``, ``1,234``; a figure in words where it has no end."""
    if abs(value) > 1e5:
        return f"{value:.3g}" if abs(value) < float("inf") else "any number"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _rows(grouped: Grouped, tallies: Mapping[str, Quotient]) -> list[dict[str, Scalar]]:
    """A line a group: rows, then each figure with its interval."""
    lines: list[dict[str, Scalar]] = [
        {"group": name, "rows": int((grouped.groups.codes == place).sum())}
        for place, name in enumerate(grouped.groups.names)
    ]
    for title, tally in tallies.items():
        for line, one in zip(lines, grouped.figures(tally).each, strict=True):
            line[title] = None if one is None else one.value
            line[f"{title}: interval"] = "" if one is None else f"{short(one.low)} to {short(one.high)}"
    return lines + [{**dict.fromkeys(lines[0]), "group": name, "rows": rows} for name, rows in grouped.groups.small]
