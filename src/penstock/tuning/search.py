"""Which setting is best, by successive halving: everything a little, the better half more, the best few thoroughly.

    settings --round by round, each setting in turn--> Trial (points by connections) --choose--> one, and the curve

Settings take turns several times in a round, and the best turn counts: what else a machine does only ever slows, and
it seldom slows the same setting each time. Source of the scheme: Jamieson and Talwalkar, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from penstock.records import Record
from penstock.tuning.driver import Sample
from penstock.tuning.settings import Setting

NEAR = 0.05
"""Throughputs this near to the best are one and the same: the cheaper setting is taken."""
LAST = 4
MOST_TIMES = 2.0
"""All of it takes this many times the time of load, unless the shortest stretches take longer."""
_LEVELS = ((4, 32), (2, 8, 32), (1, 4, 16, 64))
_SHARES = (0.3, 0.25, 0.45)
_PASSES = (2, 2, 3)
_SHORTEST_S = 0.1
_FULL = 0.15
"""With fewer processors idle than this the machine counts as full."""


class LoadPoint(Record, frozen=True, kw_only=True):
    """What a setting did under so many connections at one time.

    Attributes:
        per_s: Answers a second, as seen.
        apart_per_s: The same with the processors to itself and the clients on another machine: where none was idle,
            the time that others took would have been the data plane's. What settings are compared by.
        cpu_s: Processor time of the data plane for an answer.
        busy: Processors that the clients themselves took.
    """

    connections: int
    answered: int
    failed: int
    per_s: float
    apart_per_s: float
    p50_s: float
    p99_s: float
    cpu_s: float
    busy: float


class Trial(Record, frozen=True, kw_only=True):
    """A setting and all that was seen of it; `rounds` says how far it came."""

    setting: Setting
    points: tuple[LoadPoint, ...]
    rounds: int

    def best(self, p99_s: float) -> LoadPoint | None:
        """The point of most answers a second that keeps the latency and fails nobody; None where there is none."""
        kept = [point for point in self.points if point.p99_s <= p99_s and not point.failed and point.answered]
        return max(kept, key=lambda point: point.apart_per_s, default=None)

    def score(self, p99_s: float) -> float:
        """Answers a second within the latency; below zero where it never kept it, the slower the lower."""
        best = self.best(p99_s)
        if best is not None:
            return best.apart_per_s
        return -min((point.p99_s for point in self.points if point.answered), default=float("inf"))


class Stretch(NamedTuple):
    """One stretch of load.

    Attributes:
        cpu_s: Processor time that the data plane took.
        idle: Processors that nobody used, on average.
        cpus: All that are usable.
    """

    sample: Sample
    cpu_s: float
    idle: float
    cpus: int


Measure = Callable[[Setting, int, float], Stretch]
"""Load a setting over so many connections for so many seconds."""
Tell = Callable[[str], None]


class _Clock:
    """Shares the time among the rounds; where changing settings takes long, what is left for load is less."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began = monotonic()
        self._loaded_s = 0.0
        self._visits = 0
        self._turns = 0

    def stretch(self, number: int, visits: int, levels: int) -> float:
        """How long a round loads each setting at each level, in seconds."""
        gone = monotonic() - self._began
        change_s = max(gone - self._loaded_s, 0.0) / self._visits if self._visits else 0.0
        rest = (MOST_TIMES * self._seconds - gone) * _SHARES[number] / sum(_SHARES[number:])
        wanted = min(self._seconds * _SHARES[number], rest - change_s * visits) / (visits * levels)
        stretch = max(wanted, _SHORTEST_S)
        self._loaded_s += stretch * visits * levels
        self._visits += visits
        return stretch

    def is_over(self) -> bool:
        """Whether all the time has gone; the first turn, in which everything is tried once, is taken in any case."""
        self._turns += 1
        return self._turns > 1 and monotonic() - self._began > MOST_TIMES * self._seconds


class _Record:
    """All samples of a setting, by connections."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.rounds = 0
        self.seen: dict[int, list[Stretch]] = {}

    def trial(self) -> Trial:
        """What they come to."""
        points = tuple(_point(self.setting, level, seen) for level, seen in sorted(self.seen.items()))
        return Trial(setting=self.setting, points=points, rounds=self.rounds)


def search(
    settings: Sequence[Setting],
    measure: Measure,
    *,
    p99_s: float,
    seconds: float,
    whole: bool = False,
    tell: Tell = lambda step: None,
) -> tuple[Trial, ...]:
    """Try settings; the first is what is in force today and stays to the end, to be compared with.

    Args:
        settings: At least one.
        measure: Does it.
        p99_s: The latency to keep.
        seconds: Time of load, all in all.
        whole: Take every setting to the end: what halving saves, to judge its choice by.
        tell: Told each step.

    Returns:
        All of them, the best first.
    """
    found = {setting: _Record(setting) for setting in settings}
    left, clock = list(settings), _Clock(seconds)
    for number, (levels, passes) in enumerate(zip(_LEVELS, _PASSES, strict=True)):
        stretch = clock.stretch(number, len(left) * passes, len(levels))
        for turn in range(passes):
            if clock.is_over():
                break
            tell(f"round {number + 1} of {len(_LEVELS)}, turn {turn + 1} of {passes}: {len(left)} settings")
            # There and back: the last of a turn is in force already when the next begins.
            for setting in left[:: -1 if turn % 2 else 1]:
                record = found[setting]
                record.rounds = number + 1
                for level in levels:
                    record.seen.setdefault(level, []).append(measure(setting, level, stretch))
        ranked = sorted(left, key=lambda setting: -found[setting].trial().score(p99_s))
        kept = {settings[0], *ranked[: LAST if number else max(LAST, len(left) // 2)]}
        # In the order of the grid, where what is slow to change stands together.
        left = left if whole else [setting for setting in settings if setting in kept]
    trials = [record.trial() for record in found.values()]
    return tuple(sorted(trials, key=lambda trial: (-trial.rounds, -trial.score(p99_s))))


def choose(trials: Sequence[Trial], p99_s: float) -> Trial:
    """The best of those that came to the end; among equals the cheapest."""
    last = max(trial.rounds for trial in trials)
    finalists = [trial for trial in trials if trial.rounds == last]
    top = max(trial.score(p99_s) for trial in finalists)
    equals = [trial for trial in finalists if trial.score(p99_s) >= top - NEAR * abs(top)]
    return min(equals, key=lambda trial: (*trial.setting.cost, -trial.score(p99_s)))


def _point(setting: Setting, level: int, seen: Sequence[Stretch]) -> LoadPoint:
    """The best turn; what failed in any of them counts."""
    best = max(seen, key=lambda one: len(one.sample.latencies_s) / one.sample.seconds)
    latencies = sorted(best.sample.latencies_s)
    per_s = len(latencies) / best.sample.seconds
    return LoadPoint(
        connections=level,
        answered=len(latencies),
        failed=sum(one.sample.failed for one in seen),
        per_s=per_s,
        apart_per_s=per_s * _apart(setting, best),
        p50_s=_quantile(latencies, 0.5),
        p99_s=_quantile(latencies, 0.99),
        cpu_s=best.cpu_s / max(len(latencies), 1),
        busy=best.sample.busy,
    )


def _apart(setting: Setting, seen: Stretch) -> float:
    """How many times more it would have answered with every processor that it surely can use."""
    used = seen.cpu_s / seen.sample.seconds
    if seen.idle >= _FULL or used <= 0:
        return 1.0
    return max(min(seen.cpus, setting.most_cpus) / used, 1.0)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
