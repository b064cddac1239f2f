"""Alarms that may be looked at after every label: Shiryaev-Roberts e-detectors.

What comes in: bounded losses, or labels with their forecast, in the order in which they arrive. What goes out: the
log of an e-detector M. While nothing has changed E[M at any stopping time t] <= E[t], so that an alarm at M >= A
comes after A observations or more on average, however often one looks and whenever the change comes.

    factor (one per bet, mean <= 1 under "all is well")  ->  M = (M + 1) x factor  ->  mean over the bets

Source: Shin, Ramdas and Rinaldo, E-detectors, New England J. Statist. Data Sci. 2, 2024. Bets by "testing by
betting": Waudby-Smith and Ramdas, J. R. Statist. Soc. B 86, 2024. All of it is a frozen state and pure functions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from penstock.records import Record

Floats = npt.NDArray[np.float64]

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0)
ODDS = (1.5, 2.0, 3.0, 1 / 1.5, 1 / 2.0, 1 / 3.0)
SCHEMA_ODDS = (3.0, 10.0, 30.0)
DRIFTS = (0.5, 1.0, 1.5)
CLIP = 2.0


class Detection(Record, frozen=True, kw_only=True):
    """What an e-detector remembers: the log of M for each bet, and how many observations it has seen."""

    log_m: tuple[float, ...] = ()
    seen: int = 0

    @property
    def log_mean(self) -> float:
        """Log of the mean over the bets: the e-detector itself; minus infinity at the start."""
        if not self.log_m:
            return -math.inf
        return float(np.logaddexp.reduce(self.log_m) - math.log(len(self.log_m)))


def advance(state: Detection, log_factors: Floats) -> tuple[Detection, Floats]:
    """Take in observations in order.

    Args:
        state: From the call before; ``Detection()`` at the start.
        log_factors: Shape ``(observations, bets)``.

    Returns:
        The new state, and the log of the e-detector after each observation, shape ``(observations,)``.
    """
    steps, bets = log_factors.shape
    start = np.array(state.log_m) if state.log_m else np.full(bets, -np.inf)
    if not steps:
        return state, np.empty(0)
    total = np.cumsum(log_factors, axis=0)
    # M_t = exp(S_t) (M_0 + sum over j <= t of exp(-S_(j-1))): the recursion, unrolled for all times at once.
    starts = np.vstack([np.logaddexp(start, 0.0), -total[:-1]])
    log_m = total + np.logaddexp.accumulate(starts, axis=0)
    track = np.logaddexp.reduce(log_m, axis=1) - math.log(bets)
    return Detection(log_m=tuple(log_m[-1].tolist()), seen=state.seen + steps), track


def advance_many(log_m: Floats, log_factors: Floats) -> tuple[Floats, Floats]:
    """One observation for each of many e-detectors at once.

    Args:
        log_m: Shape ``(detectors, bets)``; minus infinity at the start.
        log_factors: The same shape.

    Returns:
        The new state, and the log of each e-detector.
    """
    state = np.logaddexp(log_m, 0.0) + log_factors
    return state, np.asarray(np.logaddexp.reduce(state, axis=1) - math.log(state.shape[1]))


def first_alarm(track: Floats, level: float) -> int | None:
    """Index of the first observation after which M >= level; None if there is none."""
    over = np.flatnonzero(track >= math.log(level))
    return int(over[0]) if len(over) else None


def risk_factors(losses: npt.ArrayLike, tolerated: float, ratios: tuple[float, ...] = RATIOS) -> Floats:
    """Bets that the mean loss is above what is tolerated; losses lie between 0 and 1.

    Podkopaev and Ramdas, Tracking the Risk of a Deployed Model and Detecting Harmful Distribution Shifts, ICLR 2022.
    Each bet is Kelly's for a mean of ``ratio x tolerated``, at most nine tenths of the largest allowed one.

    Returns:
        Logs, shape ``(len(losses), len(ratios))``.
    """
    tolerated = min(max(tolerated, 1e-6), 1 - 1e-6)
    kelly = (np.array(ratios) - 1) / (1 - tolerated)
    bets = np.minimum(kelly, 0.9 / tolerated)
    return np.asarray(np.log1p(np.outer(np.asarray(losses, float) - tolerated, bets)))


def calibration_factors(
    labels: npt.ArrayLike, frequencies: npt.ArrayLike, *, odds: tuple[float, ...] = ODDS, tolerance: float = 1.0
) -> Floats:
    """Likelihood ratios of "the odds are k times what was forecast" against the forecast.

    Arnold, Henzi and Ziegel, Sequentially Valid Tests for Forecast Calibration, Ann. Appl. Statist. 17, 2023.

    Args:
        labels: 0 or 1.
        frequencies: The forecast chance of a 1.
        odds: The factors k; below 1 the forecast is too high.
        tolerance: Odds off by up to this factor, either way, are still well.
    """
    y = np.asarray(labels, float)[:, None]
    k = np.array(odds)[None, :]
    forecast = np.clip(np.asarray(frequencies, float), 1e-6, 1 - 1e-6)[:, None]
    null = _tilted(forecast, np.where(k > 1, tolerance, 1 / tolerance))
    other = _tilted(null, k)
    return np.asarray(y * np.log(other / null) + (1 - y) * np.log((1 - other) / (1 - null)))


def share_factors(events: npt.ArrayLike, rows: npt.ArrayLike, share: npt.ArrayLike) -> Floats:
    """Bets that an event (a missing value, an unseen category) has become 3, 10 or 30 times as likely.

    Args:
        events: How many of `rows` had it, by batch.
        rows: Rows of each batch.
        share: What is ordinary, one for all batches or one for each; 0 < share < 1.

    Returns:
        Logs, shape ``(batches, 3)``: the likelihood ratio of each batch as a whole.
    """
    hits = np.asarray(events, float)[:, None]
    total = np.asarray(rows, float)[:, None]
    ordinary = np.asarray(share, float).reshape(-1, 1)
    other = _tilted(ordinary, np.array(SCHEMA_ODDS)[None, :])
    return np.asarray(hits * np.log(other / ordinary) + (total - hits) * np.log((1 - other) / (1 - ordinary)))


def block_factors(deviations: npt.ArrayLike, drifts: tuple[float, ...] = DRIFTS) -> Floats:
    """Bets that the mean of whole blocks (days) has moved up, in standard deviations of a block.

    Rows of one day share its weather: they are one observation. The factor is exp(d z - d^2 / 2), a likelihood ratio
    for normal blocks and an e-value for any sub-Gaussian ones (Howard et al., Probability Surveys 17, 2020).
    Deviations beyond `CLIP` count as `CLIP`, which only weakens the bet: a fat upper tail raises nothing.
    """
    z = np.minimum(np.asarray(deviations, float), CLIP)[:, None]
    d = np.array(drifts)[None, :]
    return np.asarray(d * z - d**2 / 2)


def _tilted(share: Floats, odds: Floats) -> Floats:
    """A share whose odds are multiplied."""
    return np.asarray(odds * share / (1 - share + odds * share))
