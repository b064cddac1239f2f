"""Is the model about to do worse, by its own scores? The label-free estimate against the reference's own windows.

Two of three days below the reference's estimate by more than one and a half times its lowest day: a ticket. It holds
only while P(y|x) is unchanged; the calibration detector says when labels contradict that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.observe.detector import CLOSES, Persistence, Reading, Source
from penstock.observe.windows import Window
from penstock.statistics.estimation import ASSUMPTION
from penstock.statistics.reference import Reference, Windows, estimates

FLOOR = 0.02
FACTOR = 1.5


@dataclass
class EstimateDetector:
    """Estimated AUC and accuracy of a day."""

    source: Source = "predictions"
    _reference: Reference | None = None
    _limits: Windows | None = None
    _states: dict[str, Persistence] = field(default_factory=dict)

    def fit(self, reference: Reference) -> None:
        """Take the limits; without labels or days in the reference there is nothing to judge by."""
        self._reference, self._limits, self._states = reference, reference.window(24), {}

    def hours(self) -> int:
        """Length of its windows."""
        return 24

    def score(self, window: Window) -> list[Reading]:
        """One reading for both metrics."""
        if self._reference is None or self._limits is None:
            return []
        whole = {known.metric: known.value for known in self._reference.estimates if known.valid}
        seen = {known.metric: known for known in estimates(self._reference, window.rows.scores) if known.valid}
        judged = [metric for metric in self._limits.lowest if metric in whole and metric in seen]
        limits = {metric: self._limit(whole[metric], self._limits.lowest[metric]) for metric in judged}
        for metric in judged:
            # The whole sampling band has to lie below the limit.
            state = self._states.get(metric, Persistence())
            self._states[metric] = state.turn(seen[metric].high < limits[metric])
        if not judged:
            return []
        low = [metric for metric in judged if self._states[metric].raised]
        if not low:
            return [Reading(cause="estimate", raised=False)]
        words = (
            f"{metric} {seen[metric].value:.3f} ({seen[metric].low:.3f} to {seen[metric].high:.3f}), "
            f"{whole[metric]:.3f} in the reference, limit {limits[metric]:.3f}"
            for metric in low
        )
        reading = Reading(
            cause="estimate",
            raised=True,
            severity="ticket",
            title=f"estimated {' and '.join(low)} below the reference's worst day",
            effect=f"{'; '.join(words)}; {ASSUMPTION}",
            guarantee="lower than any day of the reference by half as much again, on two of three days",
            closes=CLOSES,
            columns=tuple(low),
            measured={metric: round(seen[metric].value, 5) for metric in low},
        )
        return [reading]

    def _limit(self, whole: float, lowest: float) -> float:
        return whole - max(FLOOR, FACTOR * (whole - lowest))
