"""The verdict as a page that a person reads and signs off (stage 2, gate).

What comes in: a verdict and the manifest of what it is about. What goes out: one HTML page without any link to
elsewhere: verdict and reason on the first screen, every question with its figures, limits and plots, then parity,
data and the package. As JSON the verdict is its own report (`penstock.records.encode`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple, cast

from penstock.gate.plots import bars, draw
from penstock.pages.page import page_environment
from penstock.records import JSON, Finding, Manifest, Scalar, Verdict

WORDS = {
    "pass": "may go out",
    "refuse": "may not go out",
    "unknown": "has not shown that it may go out",
}
MARKS = {"pass": "✓", "refuse": "✗", "unknown": "?"}
_CHECKS = {
    "quality": "Quality",
    "generalization": "Generalization",
    "robustness": "Robustness",
    "stability": "Stability",
    "fairness": "Fairness",
    "latency": "Latency",
    "scan": "Contents",
    "likeness": "Likeness to its parent",
    "compression": "Compression",
}


class Group(NamedTuple):
    """The findings of one check, under its title."""

    title: str
    findings: list[Finding]


def render(verdict: Verdict, manifest: Manifest) -> str:
    """The page. Equal verdicts give equal pages.

    Args:
        verdict: With its findings.
        manifest: Of the package whose digest the verdict names.
    """
    pages = page_environment("penstock.gate")
    pages.filters["figure"] = figure
    pages.filters["words"] = _spaced
    pages.filters["ordered"] = _ordered
    return pages.get_template("report.html").render(
        verdict=verdict,
        manifest=manifest,
        says=WORDS[verdict.outcome],
        marks=MARKS,
        reason=reason(verdict),
        against=[one for one in verdict.findings if one.blocking and one.outcome != "pass"],
        groups=_groups(verdict),
        counts={outcome: sum(one.outcome == outcome for one in verdict.findings) for outcome in MARKS},
        moment=datetime.fromtimestamp(verdict.at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        draw=draw,
        bars=bars,
        plots=_plots,
    )


def reason(verdict: Verdict) -> str:
    """The verdict's reason in one sentence: the first finding that decided it."""
    for outcome in ("refuse", "unknown"):
        deciding = [one for one in verdict.findings if one.blocking and one.outcome == outcome]
        if deciding:
            return f"{deciding[0].title} {deciding[0].message}"
    open_ones = sum(one.outcome != "pass" for one in verdict.findings)
    if not open_ones:
        return f"All {len(verdict.findings)} questions of the policy are answered with yes."
    advice = "one that does" if open_ones == 1 else f"{open_ones} that do"
    return (
        f"Every question that blocks is answered with yes: {len(verdict.findings) - open_ones} of"
        f" {len(verdict.findings)}, besides {advice} not block."
    )


def figure(value: Scalar) -> str:
    """A figure as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _spaced(name: str) -> str:
    """``max_difference`` as ``max difference``; seconds by their unit."""
    if name.endswith("_per_s") or not name.endswith("_s"):
        return name.replace("_", " ")
    return f"{name.removesuffix('_s').replace('_', ' ')} (s)"


def _ordered(figures: dict[str, Scalar]) -> list[tuple[str, Scalar]]:
    """Figures in an order that does not ask how they were stored: by name, an interval and its rows at the end."""
    last = ("low", "high", "rows")
    return sorted(figures.items(), key=lambda one: (last.index(one[0]) + 1 if one[0] in last else 0, one[0]))


def _groups(verdict: Verdict) -> list[Group]:
    """Findings by check, in the order in which they were asked."""
    found: dict[str, list[Finding]] = {}
    for finding in verdict.findings:
        found.setdefault(finding.check, []).append(finding)
    return [Group(_CHECKS.get(name, name), findings) for name, findings in found.items()]


def _plots(finding: Finding) -> list[JSON]:
    return cast("list[JSON]", finding.evidence.get("plots", []))
