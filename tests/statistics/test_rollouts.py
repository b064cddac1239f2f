"""The e-process of a rollout, simulated: how often it is wrong under peeking, how soon it is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.statistics.rollouts import STARTS, RatioTest, tilt

ENOUGH = 20.0


def first_stop(
    seed: int,
    *,
    requests: int,
    clients: int = 0,
    share: float = 0.1,
    rate: float = 0.01,
    ratio: float = 1.0,
    fault_at: int = 0,
    sick: float = 0.0,
    spacing: int = 20_000,
    margin: float = 1.0,
    every_request: bool = False,
) -> int:
    """After which request a look at every failure would stop; -1 for never. `sick` clients fail 80 times as often."""
    rng = np.random.default_rng(seed)
    number = np.arange(requests)
    client = rng.integers(0, clients, requests) if clients else number
    known = clients or requests
    candidate = (rng.random(known) < share)[client]
    often = np.where((rng.random(known) < sick)[client], min(80 * rate, 1.0), rate)
    chance = np.where(candidate & (number >= fault_at), np.minimum(often * ratio, 1.0), often)
    test = RatioTest(margin, spacing=spacing)
    for at in np.flatnonzero(rng.random(requests) < chance):
        unit = int(at if every_request else client[at])
        test.fail(unit, candidate=bool(candidate[at]), share=share, clock=int(at))
        if test.against >= ENOUGH:
            return int(at)
    return -1


def upper_bound(hits: int, runs: int) -> float:
    """Of a 95 % interval (Wilson) of a rate."""
    p, z = hits / runs, 1.96
    return (p + z * z / 2 / runs + z * np.sqrt(p * (1 - p) / runs + z * z / 4 / runs**2)) / (1 + z * z / runs)


def test_a_harmless_candidate_is_hardly_ever_rolled_back_however_often_one_looks() -> None:
    stopped = sum(first_stop(seed, requests=30_000, spacing=3_000, rate=0.02) >= 0 for seed in range(300))
    assert upper_bound(stopped, 300) <= 0.05


def clustered(seed: int, *, every_request: bool) -> bool:
    return (
        first_stop(
            seed, requests=60_000, clients=5_000, rate=0.0125, sick=0.004, spacing=6_000, every_request=every_request
        )
        >= 0
    )


def test_clients_that_fail_in_bursts_do_not_break_the_guarantee() -> None:
    stopped = sum(clustered(seed, every_request=False) for seed in range(120))
    assert stopped / 120 <= 0.05


def test_counting_every_request_would_break_it() -> None:
    """The planted fault: the same traffic, each failing request counted."""
    stopped = sum(clustered(seed, every_request=True) for seed in range(60))
    assert stopped / 60 > 0.1


def delays(runs: int, **options: object) -> np.ndarray:
    found = [first_stop(1_000 + seed, **options) for seed in range(runs)]  # type: ignore[arg-type]
    return np.sort([at - int(options.get("fault_at", 0)) if at >= 0 else 10**9 for at in found])  # type: ignore[call-overload]


def test_three_times_the_errors_are_found_within_a_few_thousand_requests() -> None:
    found = delays(60, requests=40_000, rate=0.01, ratio=3.0)
    assert np.median(found) <= 4_000
    assert found[53] <= 12_000


def test_a_late_fault_is_found_about_as_fast_as_an_early_one() -> None:
    found = delays(40, requests=120_000, clients=5_000, rate=0.01, ratio=3.0, fault_at=80_000)
    assert (found < 0).sum() <= 3
    assert 0 < np.median(found) <= 9_000


def test_a_common_fault_says_nothing() -> None:
    def stopped(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        test = RatioTest()
        for unit in range(2_000):
            # An outage: everybody fails, one after the other.
            test.fail(unit, candidate=bool(rng.random() < 0.1), share=0.1, clock=unit)
        return test.against >= ENOUGH

    assert sum(stopped(seed) for seed in range(60)) <= 3


def test_the_margin_forgives_what_lies_within_it() -> None:
    rng = np.random.default_rng(4)
    strict, lenient = RatioTest(1.0), RatioTest(1.5)
    for unit in range(15_000):
        candidate = bool(rng.random() < tilt(0.5, np.array([1.3]))[0])
        for test in (strict, lenient):
            test.fail(unit, candidate=candidate, share=0.5, clock=0)
    assert strict.against > 1e4
    assert lenient.against < ENOUGH


def test_the_share_may_change_on_the_way() -> None:
    rng = np.random.default_rng(5)
    test = RatioTest()
    for unit in range(20_000):
        share = 0.1 if unit < 5_000 else 0.5
        test.fail(unit, candidate=bool(rng.random() < share), share=share, clock=unit)
    assert test.against < ENOUGH


def test_clean_units_speak_for_the_candidate_and_failing_ones_do_not() -> None:
    test = RatioTest(1.1)
    assert test.supporting(0) == pytest.approx(1.0)
    assert test.supporting(100) < ENOUGH < test.supporting(300)
    for unit in range(15):
        test.fail(unit, candidate=True, share=0.5, clock=unit, first=True)
    assert test.supporting(300) < 1.0
    test.restart_support()
    assert test.supporting(300) > ENOUGH


def test_an_even_spread_speaks_for_a_candidate_that_fails_as_often_as_all() -> None:
    rng = np.random.default_rng(6)
    test = RatioTest(2.0)
    for unit in range(600):
        test.fail(unit, candidate=bool(rng.random() < 0.5), share=0.5, clock=unit, first=True)
    assert test.supporting(1_000) > ENOUGH


def test_a_bad_candidate_is_hardly_ever_spoken_for() -> None:
    """Worse by exactly what must be excluded, on exactly the floor: the hardest null."""

    def spoken_for(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        test = RatioTest(2.0, floor=0.02)
        units = 0
        for unit in range(3_000):
            candidate = bool(rng.random() < 0.5)
            units += candidate
            if rng.random() < (0.02 if candidate else 0.01):
                test.fail(unit, candidate=candidate, share=0.5, clock=unit, first=True)
            if unit % 50 == 49 and test.supporting(units) >= ENOUGH:
                return True
        return False

    assert sum(spoken_for(seed) for seed in range(100)) <= 8


def test_memory_is_bounded() -> None:
    test = RatioTest(spacing=10)
    for unit in range(2_000):
        test.fail(unit % 7, candidate=False, share=0.5, clock=unit)
    assert test.starts == STARTS
    assert np.isfinite(test.against)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.booleans(), st.floats(0.0, 1.0), st.integers(0, 100_000), st.booleans()),
        max_size=60,
    )
)
def test_any_history_gives_numbers(history: list[tuple[int, bool, float, int, bool]]) -> None:
    test = RatioTest(1.1)
    before = 0.5
    for unit, candidate, share, clock, first in history:
        test.fail(unit, candidate=candidate, share=share, clock=clock, first=first)
        assert before <= test.against < np.inf
        before = test.against
    assert 0.0 <= test.supporting(len(history)) < np.inf
    if not any(candidate for _, candidate, *_ in history):
        assert test.against == 0.5
