"""How the console writes figures: short, with their unit, the same everywhere.

What comes in: numbers in base units (seconds, shares, bytes). What goes out: text; a dash for what is not known.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

NONE = "–"
_SPACE = "\u00a0"  # Between a figure and its unit: no line ends there.


def count(value: float) -> str:
    """``336,776``; above a million ``1.25 M``."""
    if value >= 1e6:
        return f"{value / 1e6:.3g}{_SPACE}M"
    return f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """``850 µs``, ``12.3 ms``, ``4.1 s``, ``3 min``, ``2.5 h``, ``4 d``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 5e-8:
        return f"0{_SPACE}ms"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if seconds < limit:
            return f"{_short(seconds * factor)}{_SPACE}{unit}"
    return f"{_short(seconds / 3600)}{_SPACE}h" if seconds < 172800 else f"{_short(seconds / 86400)}{_SPACE}d"


def percent(share: float | None) -> str:
    """``0.13 %``, ``12.5 %``, ``100 %``."""
    if share is None or not math.isfinite(share):
        return NONE
    value = share * 100
    return f"{value:.2g}{_SPACE}%" if abs(value) < 10 else f"{value:.3g}{_SPACE}%"


def rate(value: float) -> str:
    """Requests a second: ``1,240/s``."""
    return f"{value:,.0f}/s" if value >= 100 else f"{_short(value)}/s"


def figure(value: object) -> str:
    """Any figure of a finding or a step, as it came: four digits that count, yes and no as themselves."""
    if isinstance(value, bool) or value is None:
        return NONE if value is None else str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(figure(item) for item in value)
    if isinstance(value, float):
        return f"{value:,.4g}" if math.isfinite(value) else NONE
    return str(value)


def evidence(value: float) -> str:
    """An e-value: ``0.02``, ``3.4``, ``1,200``, ``4.1e+08``."""
    if not math.isfinite(value):
        return "∞" if value > 0 else NONE
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def size(size_bytes: int) -> str:
    """``1.2 MB``."""
    if size_bytes < 1000:
        return f"{size_bytes}{_SPACE}B"
    for factor, unit in ((1e3, "kB"), (1e6, "MB"), (1e9, "GB")):
        if size_bytes < factor * 1000:
            return f"{_short(size_bytes / factor)}{_SPACE}{unit}"
    return f"{size_bytes / 1e12:.3g}{_SPACE}TB"


def moment(at: float) -> str:
    """``2013-05-01 06:00``, in UTC; a dash for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") if at > 0 else NONE


def iso(at: float) -> str:
    """``2013-05-01T06:00:00Z``: for machines, in a ``datetime`` attribute."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(value: str) -> str:
    """The first twelve digits of a digest or hash."""
    return value.removeprefix("sha256:")[:12] or NONE


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2g}"
