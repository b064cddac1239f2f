"""From samples to verdicts: the ratio within each round, then the median over the rounds.

Whatever else the machine does in a round hits both sides of its ratio alike; absolute figures move with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

from bench.points import YARDSTICK, YARDSTICK_US, Claim, Figure

Sample = Mapping[str, float]
"""Figures of one spot in one round: cpu_us, per_s, p50_ms, p99_ms, start_s, ... and failed, wrong, checked."""

_FIELDS = {
    Figure.PER_CPU: "cpu_us", Figure.CPU: "cpu_us", Figure.P50: "p50_ms", Figure.P99: "p99_ms",
    Figure.START: "start_s", Figure.MEMORY: "pss_mib", Figure.SIZE: "size_mib", Figure.IDLE: "idle_pct",
    Figure.HOP: "cpu_us", Figure.ADDED: "cpu_us", Figure.LOST: "lost", Figure.BEHIND: "behind_us",
}  # fmt: skip


class Verdict(NamedTuple):
    """What one run says of a claim.

    Attributes:
        value: In the claim's unit; None where nothing can be said. A time that stands alone is scaled to the machine of
            its must; see `bench.points.YARDSTICK`.
        raw: The same as it was measured, where that differs.
        holds: Whether the must is met; a void claim does not hold.
        why: Why nothing can be said.
        measured: Both sides were loaded; what is void was measured too.
    """

    value: float | None
    holds: bool
    why: str = ""
    measured: bool = True
    raw: float | None = None


class Samples:
    """All samples of one run."""

    def __init__(self, records: Iterable[Mapping[str, object]]) -> None:
        self._rounds: dict[tuple[str, str], dict[int, Sample]] = defaultdict(dict)
        self.skipped: dict[tuple[str, str], str] = {}
        for record in records:
            if record["kind"] == "sample":
                place = (str(record["stage"]), str(record["spot"]))
                figures = {key: float(value) for key, value in record.items() if isinstance(value, int | float)}
                self._rounds[place][int(figures["round"])] = figures
            elif record["kind"] == "skip":
                self.skipped[str(record["stage"]), str(record["system"])] = str(record["reason"])

    def spots(self, stage: str) -> list[str]:
        """What was measured in a stage."""
        return [spot for where, spot in self._rounds if where == stage]

    def rounds(self, stage: str, spot: object) -> dict[int, Sample]:
        """Samples of a spot by round; empty where it was not measured."""
        return self._rounds.get((stage, str(spot)), {})

    def middle(self, stage: str, spot: object, field: str) -> float | None:
        """The median of one figure over the rounds."""
        values = [sample[field] for sample in self.rounds(stage, spot).values() if field in sample]
        return median(values) if values else None

    def faults(self, stage: str, spot: object) -> int:
        """Failed requests and wrong answers, all rounds."""
        return int(
            sum(sample.get("failed", 0) + sample.get("wrong", 0) for sample in self.rounds(stage, spot).values())
        )


def rates(samples: Samples, stage: str, spot: object, base: object) -> float | None:
    """Requests per CPU second of a spot over those of another, the median over the rounds that have both."""
    ours, theirs = samples.rounds(stage, spot), samples.rounds(stage, base)
    found = [theirs[number]["cpu_us"] / ours[number]["cpu_us"] for number in ours if number in theirs]
    return median(found) if found else None


def judge(claim: Claim, samples: Samples) -> Verdict:
    """What a run says of a claim."""
    spots = (claim.ours, *claim.theirs)
    for spot in spots:
        if not samples.rounds(claim.stage, spot):
            reason = samples.skipped.get((claim.stage, spot.system), "not measured")
            return Verdict(None, False, f"{spot.system}: {reason}", measured=False)
        if samples.faults(claim.stage, spot):
            return Verdict(
                None, False, f"{spot}: {samples.faults(claim.stage, spot)} requests failed or were answered wrong"
            )
    ours = samples.rounds(claim.stage, claim.ours)
    theirs = [samples.rounds(claim.stage, spot) for spot in claim.theirs]
    shared = [number for number in ours if all(number in rounds for rounds in theirs)]
    if not shared:
        return Verdict(None, False, "no round has both sides", measured=False)
    value = median(_value(claim.figure, ours[number], [rounds[number] for rounds in theirs]) for number in shared)
    raw = None
    if claim.figure.is_time:
        pace = samples.middle("core", YARDSTICK, "cpu_us")
        if pace is None:
            return Verdict(None, False, f"{YARDSTICK.system}: not measured", measured=False)
        raw, value = value, value * YARDSTICK_US / pace
    return Verdict(value, value >= claim.must if claim.figure.more_is_better else value <= claim.must, raw=raw)


def _value(figure: Figure, ours: Sample, theirs: list[Sample]) -> float:
    """Ours over theirs in one round; the sum of theirs where they are several; ours alone where there is nobody."""
    field = _FIELDS[figure]
    if not theirs:
        return ours[field]
    other = sum(sample[field] for sample in theirs)
    if figure is Figure.ADDED:
        return ours[field] - other
    # Requests per CPU second are the inverse of CPU per request.
    return other / ours[field] if figure.more_is_better else ours[field] / other
