"""The two tables: what is claimed and whether it holds, and everybody side by side."""

from __future__ import annotations

from bench.plot import Bar
from bench.points import Claim, Figure, Spot
from bench.ratios import Samples, Verdict, judge, rates
from bench.systems import SYSTEMS

STAGES = ("core", "frameworks")
BASE = "fastapi rows 16"
ORDER = (
    "penstock", "fastapi", "mosec", "triton", "kserve", "litserve", "mlserver", "bentoml", "mlflow", "torchserve",
    "ray",
)  # fmt: skip


def claims_table(claims: list[Claim], runs: list[Samples]) -> str:
    """Markdown, one line a claim; a claim holds where it holds in every run."""
    lines = ["| # | measured | must | aim | " + " | ".join(_headings(runs)) + " | holds |"]
    lines.append("|---" * (5 + len(runs)) + "|")
    for claim in claims:
        verdicts = [judge(claim, run) for run in runs]
        bounds = f"{bound(claim, claim.must)} | {bound(claim, claim.aim)}"
        here = " | ".join(shown(claim, verdict) for verdict in verdicts)
        lines.append(f"| {claim.point} | {claim.what} | {bounds} | {here} | {held(verdicts)} |")
    return "\n".join(lines)


def held(verdicts: list[Verdict]) -> str:
    """Whether a claim held in each run; one that a run did not measure did not."""
    if not any(verdict.measured for verdict in verdicts):
        return "not measured"
    if any(verdict.measured and not verdict.holds for verdict in verdicts):
        return "**no**"
    return "yes" if all(verdict.holds for verdict in verdicts) else "not in each run"


def bound(claim: Claim, value: float) -> str:
    """A must or an aim with its direction."""
    return f"{'>=' if claim.figure.more_is_better else '<='} {value:g}{claim.figure.unit}"


def shown(claim: Claim, verdict: Verdict) -> str:
    """A run's figure, or why there is none."""
    if verdict.value is None:
        return verdict.why.splitlines()[-1][:80].replace("|", "/")
    digits = 0 if claim.figure is Figure.LOST else 1 if claim.figure.unit == " us" else 2
    here = "" if verdict.raw is None else f" ({verdict.raw:.1f} here)"
    return f"{verdict.value:.{digits}f}{claim.figure.unit}{here}"


def side_by_side(samples: Samples) -> str:
    """Every server at 16 connections, and at 1 and 64 where it was asked so; medians over all rounds."""
    lines = ["| system | req/s c16 | CPU us | per CPU s | p50 ms | p99 ms | p50 ms c1 | p50 / p99 ms c64 |"]
    lines.append("|---" * 8 + "|")
    for stage, spot in everybody(samples):
        figures = [samples.middle(stage, spot, field) for field in ("per_s", "cpu_us", "p50_ms", "p99_ms")]
        per_s, cpu_us, p50, p99 = (figure or 0.0 for figure in figures)
        ratio = rates(samples, stage, spot, BASE)
        cells = [SYSTEMS[spot.system].title, f"{per_s:,.0f}", f"{cpu_us:.0f}", f"{ratio:.2f}x" if ratio else "-"]
        cells += [f"{p50:.2f}", f"{p99:.1f}", *_other_loads(samples, spot)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cold_starts(samples: Samples) -> str:
    """From nothing to the first right answer, and what a server then takes; medians."""
    lines = [
        "| system | first right answer s | import s | memory (PSS) MiB | idle CPU % | installed MiB |",
        "|---" * 6 + "|",
    ]
    spots = {text.partition(" ")[0]: text for text in samples.spots("start")}
    for system in ORDER:
        if system in spots:
            fields = ("start_s", "import_s", "pss_mib", "idle_pct", "size_mib")
            start, imports, pss, idle, size = (samples.middle("start", spots[system], field) or 0.0 for field in fields)
            cells = [SYSTEMS[system].title, f"{start:.2f}", f"{imports:.2f}" if imports else "-"]
            lines.append("| " + " | ".join([*cells, f"{pss:.0f}", f"{idle:.1f}", f"{size:.0f}"]) + " |")
    return "\n".join(lines)


def everybody(samples: Samples) -> list[tuple[str, Spot]]:
    """Stage and 16-connection spot of each server that was measured over the small model."""
    found: list[tuple[str, Spot]] = []
    for system in ORDER:
        for stage in STAGES:
            for text in samples.spots(stage):
                name, _, rest = text.partition(" ")
                traffic, _, connections = rest.partition(" ")
                wanted = name == system and connections == "16" and traffic != "v2_binary"
                if wanted and system not in [spot.system for _, spot in found]:
                    found.append((stage, Spot(name, traffic, 16)))
    return found


def rate_bars(samples: Samples) -> list[Bar]:
    """Everybody's requests per CPU second as multiples of the base, the highest first."""
    found: list[Bar] = []
    for stage, spot in everybody(samples):
        ratio = rates(samples, stage, spot, BASE)
        if ratio:
            found.append(Bar(SYSTEMS[spot.system].title, ratio, ours=spot.system == "penstock"))
    return sorted(found, key=lambda bar: -bar.value)


def _other_loads(samples: Samples, spot: Spot) -> tuple[str, str]:
    one, many = spot._replace(connections=1), spot._replace(connections=64)
    p50 = samples.middle("core", one, "p50_ms")
    middle, tail = samples.middle("core", many, "p50_ms"), samples.middle("core", many, "p99_ms")
    return f"{p50:.2f}" if p50 else "-", f"{middle:.1f} / {tail:.1f}" if middle and tail else "-"


def _headings(runs: list[Samples]) -> list[str]:
    return [f"run {number}" for number in range(1, len(runs) + 1)] if len(runs) > 1 else ["here"]
