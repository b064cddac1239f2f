"""What a finding shows: curves, bands, bars and tables as plain data (part of ``gate``).

What comes in: figures. What goes out: JSON objects for `Finding.evidence`, which travel in the verdict and are
drawn by `penstock.gate.plots`. Nothing here depends on how a report looks.

    {"plots": [{"kind": "curve" | "band" | "bars", ...}], "tables": [{"columns", "rows"}], "notes": [...]}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from penstock.records import JSON, Scalar

DIGITS = 6


def evidence(plots: Sequence[JSON] = (), tables: Sequence[JSON] = (), notes: Sequence[str] = ()) -> JSON:
    """The evidence of one finding; empty parts are left out."""
    found: JSON = {}
    if plots:
        found["plots"] = list(plots)
    if tables:
        found["tables"] = list(tables)
    if notes:
        found["notes"] = _scalars(notes)
    return found


def curve(title: str, axes: tuple[str, str], series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> JSON:
    """Lines over the unit square, beside its diagonal: ROC, reliability.

    Args:
        title: What is drawn.
        axes: Names of the horizontal and the vertical axis.
        series: Line's name -> horizontal and vertical values, each in 0 to 1.
    """
    lines: list[JSON] = [{"name": name, "x": rounded(x), "y": rounded(y)} for name, (x, y) in series.items()]
    return {"kind": "curve", "title": title, "x": axes[0], "y": axes[1], "series": lines}


def band(title: str, labels: Sequence[str], values: Sequence[float], *, middle: float, spread: float) -> JSON:
    """One figure a unit of time, beside its mean and the band of one standard deviation."""
    return {
        "kind": "band",
        "title": title,
        "labels": _scalars(labels),
        "values": rounded(values),
        "middle": round(middle, DIGITS),
        "spread": round(spread, DIGITS),
    }


def bars(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    *,
    limit: float | None = None,
    beside: str = "limit",
    unit: str = "",
    span: tuple[float, float] | None = None,
) -> JSON:
    """Named figures, each with its interval, beside a limit.

    Args:
        title: What is drawn.
        rows: Name, value, low, high; low equals high where there is no interval.
        limit: A line to hold them against.
        beside: What the line is.
        unit: What follows the figure (``ms``).
        span: Where the scale begins and ends, as shares do at 0 and 1; as wide as the figures where it is not said.
    """
    drawn: list[JSON] = [
        {"name": name, "value": round(value, DIGITS), "low": round(low, DIGITS), "high": round(high, DIGITS)}
        for name, value, low, high in rows
    ]
    scale: list[Scalar] | None = span and [*span]
    return {
        "kind": "bars", "title": title, "rows": drawn, "limit": limit, "beside": beside, "unit": unit, "span": scale
    }  # fmt: skip


def table(title: str, rows: Sequence[Mapping[str, Scalar]]) -> JSON:
    """LabelledRows of one shape; the first row's keys are the columns."""
    shown: list[JSON] = [{key: _short(entry) for key, entry in row.items()} for row in rows]
    return {"title": title, "columns": _scalars(rows[0]) if rows else [], "rows": shown}


def rounded(values: Sequence[float]) -> list[Scalar]:
    """Figures short enough for a report and exact enough to check it."""
    return [round(float(value), DIGITS) for value in values]


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _short(entry: Scalar) -> Scalar:
    return round(entry, DIGITS) if isinstance(entry, float) else entry


def _scalars(texts: Iterable[str]) -> list[Scalar]:
    return list(texts)
