"""The table: what must hold, where it is going, what was measured, and whether it held in every run."""

from __future__ import annotations

from bench.points import Claim, Figure
from bench.ratios import Samples, Verdict, judge


def table(claims: list[Claim], runs: list[Samples]) -> str:
    """Markdown, one line a claim; a claim holds where it holds in each run."""
    lines = ["| # | measured | must | aim | here | holds |", "|---|---|---|---|---|---|"]
    for claim in claims:
        verdicts = [judge(claim, run) for run in runs]
        here = ", ".join(_shown(claim, verdict) for verdict in verdicts)
        holds = "yes" if all(verdict.holds for verdict in verdicts) else "no"
        if all(verdict.value is None for verdict in verdicts):
            holds = "not measured"
        bounds = f"{_bound(claim, claim.must)} | {_bound(claim, claim.aim)}"
        lines.append(f"| {claim.point} | {claim.what} | {bounds} | {here} | {holds} |")
    return "\n".join(lines)


def _bound(claim: Claim, value: float) -> str:
    return f"{'>=' if claim.figure.more_is_better else '<='} {value:g}{claim.figure.unit}"


def _shown(claim: Claim, verdict: Verdict) -> str:
    if verdict.value is None:
        return verdict.why.splitlines()[-1]
    digits = 1 if claim.figure is Figure.HOP else 2
    return f"{verdict.value:.{digits}f}{claim.figure.unit}"
