"""Is the candidate worse than what runs? Evidence that may be looked at after every request.

In: failures, each with its unit (the routing key), the arm it fell on and the candidate's share at that moment.
Out: two e-values, against the candidate and for it; compare each with 1 / alpha at any time, as often as wanted.

    failure of a unit -> start 0 (from the first request)  -> product of odds for each ratio -> mean over ratios
                      -> start 1 (from request 20,000 on)  -> ...                                   | times weight
                      -> ... at most 10 starts                                     against = the largest of them

The test conditions on the failure and asks only which arm it fell on: where the candidate does no harm, that is
the candidate with the probability of its share, whatever the failure rate does. So an incident that hits both arms
says nothing. It is exact when a *unit of assignment* counts once, which is why each start keeps the set of units
that failed since. (Lindon and Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022, for the
conditional idea.)

Why the largest weighted start and not their sum: starts share units, so a later one is a martingale only to those
who do not remember the earlier. A union bound over starts needs no memory: P(some start ever reaches
1 / (alpha * weight)) <= alpha * (sum of weights) <= alpha.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RATIOS: Final = np.array([1.1, 1.25, 1.5, 2.0, 3.0, 5.0])
"""How many times more often the candidate might fail, beyond the margin: the bets, in equal parts."""
STARTS: Final = 10
SPACING: Final = 20_000
UNITS: Final = 200_000
"""A start that has this many failed units learns no more (stopping is always allowed): memory stays bounded."""
FLOORS: Final = np.array([0.1, 0.25, 0.5])
_LARGEST: Final = 700.0
_EDGE: Final = 1e-9


class RatioTest:
    """Does a kind of failure fall on the candidate more often than its share of the units explains?

    Args:
        margin: Ratio of failures up to which the candidate counts as no worse, >= 1.
        beyond: Ratio that what speaks for the candidate has to exclude; the margin where not given.
        floor: A part of the candidate's units, below which this failure is small enough to promote under.
        spacing: Requests between two starts; a fault that comes late is found by a start that came late.

    Attributes:
        failures: Units that failed at least once, on the other arm and on the candidate.
    """

    def __init__(
        self, margin: float = 1.0, *, beyond: float = 0.0, floor: float = 0.02, spacing: int = SPACING
    ) -> None:
        self.margin = margin
        self.beyond = beyond or margin
        self.floor = floor
        self.spacing = spacing
        self.failures = [0, 0]
        self._starts = 1
        self._failed: list[set[int]] = [set()]
        self._weights = np.log([_weight(0)])
        self._bets = np.zeros((1, len(RATIOS)))
        self._peak = float(np.log(_weight(0)))
        self._first_failures = 0
        self._support = np.zeros(len(RATIOS))
        self._odds: dict[float, tuple[Floats, Floats, Floats, Floats]] = {}

    def fail(self, unit: int, *, candidate: bool, share: float, clock: int, first: bool = False) -> None:
        """Count one failure.

        Args:
            unit: A 64-bit hash of the routing key.
            candidate: Which arm it fell on.
            share: The candidate's share of the units when this one was assigned; 0 and 1 say nothing.
            clock: Requests seen so far on both arms, failed or not.
            first: It is the unit's first request at this share; only these count for the candidate.
        """
        if not _EDGE < share < 1.0 - _EDGE:
            return
        while clock >= self._starts * self.spacing:
            self._begin()
        against = self._odds_at(share)[0 if candidate else 1]
        fresh = [row for row, seen in enumerate(self._failed) if unit not in seen and len(seen) < UNITS]
        for row in fresh:
            self._failed[row].add(unit)
        if fresh:
            self.failures[candidate] += 0 in fresh
            self._bets[fresh] += against
            self._peak = max(self._peak, float(np.max(_log_mean(self._bets) + self._weights)))
        if first:
            self._first_failures += candidate
            self._support += self._odds_at(share)[2 if candidate else 3]

    @property
    def starts(self) -> int:
        """How many starts are remembered, `STARTS` at most."""
        return len(self._failed)

    def restart_support(self) -> None:
        """Forget what spoke for the candidate: at a new share it is shown anew, on that share's units."""
        self._first_failures = 0
        self._support = np.zeros(len(RATIOS))

    @property
    def against(self) -> float:
        """The largest e-value so far against "no more often than `margin` times"; 0.5 before any failure."""
        return float(np.exp(min(self._peak, _LARGEST)))

    def supporting(self, units: int) -> float:
        """E-value against "more often than `beyond` times, and on at least `floor` of its units".

        The mean of two: first failures by arm as above with the arms swapped, and the plain count of the
        candidate's units (`units`, each by its first request) against `floor`. A test without failures is thus
        passed by enough clean units, and one with many by their even spread.
        """
        spread = _log_mean(self._support[None, :])[0]
        bets = FLOORS * self.floor
        failed, clean = self._first_failures, max(units - self._first_failures, 0)
        counted = failed * np.log(FLOORS) + clean * (np.log1p(-bets) - np.log1p(-self.floor))
        both = np.logaddexp(spread, _log_mean(counted[None, :])[0]) - np.log(2.0)
        return float(np.exp(min(both, _LARGEST)))

    def _begin(self) -> None:
        """Open the next start; beyond `STARTS` the oldest but the first makes room."""
        if len(self._failed) == STARTS:
            del self._failed[1]
            self._weights = np.delete(self._weights, 1)
            self._bets = np.delete(self._bets, 1, axis=0)
        self._failed.append(set())
        self._weights = np.append(self._weights, np.log(_weight(self._starts)))
        self._bets = np.vstack([self._bets, np.zeros(len(RATIOS))])
        self._starts += 1

    def _odds_at(self, share: float) -> tuple[Floats, Floats, Floats, Floats]:
        """Log odds to add at a share: against on the candidate, on the other arm; then the same for support."""
        if share not in self._odds:
            null, excluded = tilt(share, np.array([self.margin])), tilt(share, np.array([self.beyond]))
            worse = tilt(share, self.margin * RATIOS)
            better = tilt(share, self.beyond / RATIOS)
            self._odds[share] = (
                np.log(worse / null),
                np.log((1 - worse) / (1 - null)),
                np.log(better / excluded),
                np.log((1 - better) / (1 - excluded)),
            )
        return self._odds[share]


def tilt(share: float, ratio: Floats) -> Floats:
    """The chance that a failure falls on an arm of that share which fails `ratio` times as often."""
    harm: Floats = ratio * share
    return harm / (1.0 - share + harm)


def _weight(start: int) -> float:
    """Half on the first start; the other half over all later ones, slowly falling, so that it lasts for ever."""
    return 0.5 if start == 0 else 0.5 * STARTS / ((start + STARTS - 1) * (start + STARTS))


def _log_mean(logs: Floats) -> Floats:
    """Log of the mean of the exponentials, row by row."""
    largest = logs.max(axis=1)
    mean: Floats = largest + np.log(np.exp(logs - largest[:, None]).mean(axis=1))
    return mean
