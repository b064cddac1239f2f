"""A conformance report as one page without links to elsewhere, for people.

Comes in: a report. Goes out: HTML: how many cases are kept at each level on the first screen, then each deviation with
the request that shows it, then every case.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.conformance.case import LEVELS, CaseLevel
from penstock.conformance.suite import CaseResult, ConformanceReport
from penstock.pages.page import page_environment

MEANINGS: dict[CaseLevel, str] = {
    "required": "What the specification says.",
    "recommended": "Where it is silent: HTTP, gRPC and JSON, and what clients rely on.",
    "extension": "What the server says that it has beside it.",
}
MARKS = {"kept": "✓", "deviates": "✗", "skipped": "–"}
GROUPS = {
    "health": "Health",
    "metadata": "Metadata",
    "infer": "Inference",
    "errors": "Refusals",
    "binary": "Binary tensors",
    "grpc": "gRPC",
    "property": "Random requests",
}


class LevelCount(NamedTuple):
    """How a level's cases came out; `share` is in per cent of those that were asked."""

    level: CaseLevel
    meaning: str
    kept: int
    deviating: int
    skipped: int

    @property
    def share(self) -> float:
        """Kept, of those that were asked."""
        asked = self.kept + self.deviating
        return 100 * self.kept / asked if asked else 100.0


def render_page(report: ConformanceReport, fail_at: CaseLevel) -> str:
    """The page. Equal reports give equal pages."""
    pages = page_environment("penstock.conformance")
    return pages.get_template("report.html").render(
        report=report,
        counts=count_levels(report),
        deviations=[one for level in LEVELS for one in report.of("deviates", level)],
        groups=_grouped(report.results),
        marks=MARKS,
        failed=report.fails(fail_at),
        fail_at=fail_at,
    )


def count_levels(report: ConformanceReport) -> list[LevelCount]:
    """Each level that was run, with how its cases came out."""
    run = LEVELS[: LEVELS.index(report.level) + 1]
    return [
        LevelCount(
            level,
            MEANINGS[level],
            len(report.of("kept", level)),
            len(report.of("deviates", level)),
            len(report.of("skipped", level)),
        )
        for level in run
    ]


def _grouped(results: tuple[CaseResult, ...]) -> dict[str, list[CaseResult]]:
    groups: dict[str, list[CaseResult]] = {}
    for one in results:
        groups.setdefault(GROUPS.get(one.id.partition(".")[0], "Extensions"), []).append(one)
    return groups
