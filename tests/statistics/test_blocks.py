"""Calendar blocks and the spread of days."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.statistics import blocks

DAY = 86_400.0


@given(time=st.floats(-1e9, 3e9), hours=st.sampled_from([1, 6, 24]), start=st.integers(0, 23))
def test_a_block_holds_its_times(time: float, hours: int, start: int) -> None:
    block = int(blocks.block_of(np.array([time]), hours, start)[0])
    assert blocks.start_of(block, hours, start) - 1e-6 <= time < blocks.start_of(block + 1, hours, start) + 1e-6


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(1, 30))
def test_merged_blocks_are_large_enough_and_in_order(numbers: list[int], minimum: int) -> None:
    given_ = np.sort(np.array(numbers))
    merged = blocks.merge_small(given_, minimum)
    assert (np.diff(merged) >= 0).all()
    sizes = np.bincount(merged)
    assert sizes.min() >= min(minimum, len(numbers))


def test_days_that_differ_are_told_from_days_that_do_not() -> None:
    random = np.random.default_rng(0)
    days = np.repeat(np.arange(60), 200)
    still = random.random(len(days)) < 0.3
    moody = random.random(len(days)) < np.repeat(np.clip(random.normal(0.3, 0.1, 60), 0, 1), 200)
    calm, loud = blocks.spread(still.astype(float), days), blocks.spread(moody.astype(float), days)
    assert (calm.clustered, loud.clustered) == (False, True)
    assert loud.between == pytest.approx(0.01, rel=0.4)
    assert loud.error > 3 * calm.error
    assert not blocks.spread(still.astype(float), None).known


def test_the_quietest_hour_starts_the_day() -> None:
    hours = np.repeat(np.arange(24), [50] * 8 + [2] + [50] * 15)
    assert blocks.quietest_hour(hours * 3600.0 + 5 * DAY) == 8
    assert blocks.quietest_hour(np.arange(24) * 3600.0) == 0
    assert blocks.quietest_hour(np.empty(0)) == 0
