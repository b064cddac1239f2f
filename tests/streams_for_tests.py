"""Seeded streams for the tests of this part: what is ordinary, what drifts, what breaks."""

from __future__ import annotations

import numpy as np

from penstock.observe.windows import Observations
from penstock.statistics.reference import Reference, make_reference

DAY = 86_400.0
HOUR = 3_600.0


def features(random: np.random.Generator, times: np.ndarray, *, season: float = 0.0, columns: int = 20) -> dict:
    """Normal, log-normal, gamma and text columns; a season moves the normal ones by time of day and week."""
    n = len(times)
    wave = season * (np.sin(2 * np.pi * times / DAY) + 0.5 * np.sin(2 * np.pi * times / (7 * DAY)))
    table: dict[str, np.ndarray] = {}
    for index in range(columns - 2):
        noise = random.normal(size=n)
        table[f"x{index}"] = [noise + wave, np.exp(noise / 2), random.gamma(2.0, size=n)][index % 3]
    table["site"] = random.choice(np.array(["north", "south", "west"], dtype=object), n, p=[0.5, 0.3, 0.2])
    table["device"] = random.choice(np.array([f"d{index}" for index in range(10)], dtype=object), n, p=[0.1] * 10)
    return table


def rows(
    seed: int,
    days: float,
    per_day: int,
    *,
    start: float = 0.0,
    season: float = 0.0,
    columns: int = 20,
    moody: float = 0.0,
) -> Observations:
    """A stream whose scores are right: P(label) is the score; with `moody`, days have a mood of their own."""
    random = np.random.default_rng(seed)
    n = int(days * per_day)
    times = start + np.sort(random.uniform(0, days * DAY, n))
    scores = random.beta(2, 4, n)
    chance = scores
    if moody:
        day = ((times - start) // DAY).astype(int)
        logit = np.log(scores / (1 - scores)) + random.normal(0, moody, int(days) + 1)[day]
        chance = 1 / (1 + np.exp(-logit))
    labels = (random.random(n) < chance).astype(float)
    return Observations(times, scores, labels, features(random, times, season=season, columns=columns))


def reference_of(known: Observations, *, times: bool = True, labels: bool = True) -> Reference:
    return make_reference(
        known.columns,
        scores=known.scores,
        labels=known.labels if labels else None,
        times=known.times if times else None,
    )
