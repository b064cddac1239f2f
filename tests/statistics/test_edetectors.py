"""E-detectors: the recursion, the bound on false alarms, and the delays that METHODS promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.statistics import edetectors
from penstock.statistics.edetectors import Detection


def alarm(factors: np.ndarray, level: float) -> int:
    found = edetectors.first_alarm(edetectors.advance(Detection(), factors)[1], level)
    return len(factors) if found is None else found


@given(seed=st.integers(0, 1_000), cut=st.integers(0, 30))
def test_it_is_the_recursion_however_it_is_fed(seed: int, cut: int) -> None:
    factors = np.random.default_rng(seed).normal(-0.1, 1, (30, 3))
    m, expected = np.zeros(3), []
    for row in factors:
        m = (m + 1) * np.exp(row)
        expected.append(math.log(m.mean()))
    first, start = edetectors.advance(Detection(), factors[:cut])
    second, rest = edetectors.advance(first, factors[cut:])
    assert np.concatenate([start, rest]) == pytest.approx(np.array(expected))
    assert second.log_mean == pytest.approx(expected[-1])
    assert second.seen == 30


@given(risk=st.floats(0.001, 0.9), odds=st.sampled_from(edetectors.ODDS))
def test_every_bet_is_fair_under_the_null(risk: float, odds: float) -> None:
    """The mean factor is at most 1: exactly what the guarantee rests on."""
    shares = np.array([1 - risk, risk])
    assert (shares @ np.exp(edetectors.risk_factors([0, 1], risk)) <= 1 + 1e-9).all()
    fair = np.exp(edetectors.calibration_factors([0, 1], [risk, risk], odds=(odds,)))
    assert shares @ fair == pytest.approx(1)
    loose = np.exp(edetectors.calibration_factors([0, 1], [risk, risk], odds=(odds,), tolerance=1.2))
    assert (shares @ loose <= 1 + 1e-9).all()
    counts = np.arange(21)
    weights = np.array([math.comb(20, k) * risk**k * (1 - risk) ** (20 - k) for k in counts])
    assert weights @ np.exp(edetectors.share_factors(counts, np.full(21, 20), risk)) == pytest.approx(np.ones(3))


def test_block_bets_are_fair_for_normal_and_for_skewed_days() -> None:
    random = np.random.default_rng(0)
    for days in (
        random.normal(size=400_000),
        random.exponential(size=400_000) - 1,
        1 - random.exponential(size=400_000),
    ):
        assert (np.exp(edetectors.block_factors(days)).mean(axis=0) <= 1.1).all()


def test_harmful_risk_is_found_fast_and_nothing_else() -> None:
    """Goal 8: error .10 to .15 within a median of 700 labels, to .20 within 300; at most 1 false alarm in 1e5."""
    random = np.random.default_rng(1)
    false = sum(alarm(edetectors.risk_factors(random.random(20_000) < 0.10, 0.11), 1e5) < 20_000 for _ in range(10))
    assert false <= 2
    for error, limit in (0.15, 700), (0.20, 300):
        risk = np.append(np.full(5_000, 0.10), np.full(6_000, error))
        alarms = [alarm(edetectors.risk_factors(random.random(11_000) < risk, 0.11), 1e5) for _ in range(21)]
        assert np.median(alarms) - 5_000 <= limit


def test_a_wrong_calibration_is_found() -> None:
    random = np.random.default_rng(2)
    p = random.uniform(0.1, 0.5, 20_000)
    right = edetectors.calibration_factors(random.random(20_000) < p, p)
    wrong = edetectors.calibration_factors(random.random(20_000) < p / 2, p)
    assert alarm(right, 8e5) == 20_000
    assert alarm(wrong, 8e5) < 300


def test_a_unit_fault_in_three_percent_of_rows_is_found() -> None:
    random = np.random.default_rng(3)
    delays = [
        alarm(edetectors.share_factors(random.random(3_000) < 0.03, np.ones(3_000), 0.0003), 1e5) for _ in range(21)
    ]
    assert np.median(delays) <= 250
    assert alarm(edetectors.share_factors(random.random(20_000) < 0.0002, np.ones(20_000), 0.0003), 1e5) == 20_000


def test_a_long_quiet_stream_keeps_its_precision() -> None:
    quiet = np.full((200_000, 1), -0.01)
    state, _ = edetectors.advance(Detection(), quiet)
    assert state.log_mean == pytest.approx(math.log(1 / (math.exp(0.01) - 1)), abs=1e-6)
