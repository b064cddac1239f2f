"""Days and groups, numbered alike in every part."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.gate.units import shared, units_of

MIDNIGHT = 1_767_225_600.0  # 2026-01-01 UTC
HOUR = 3600.0


def test_a_day_is_one_unit_in_every_part() -> None:
    times = {
        "train": MIDNIGHT + HOUR * np.array([9.0, 17, 33, 41]),
        "validation": MIDNIGHT + HOUR * np.array([10.0, 58]),
    }
    units = units_of(times)
    assert units["train"].tolist() == [0, 0, 1, 1]
    assert units["validation"].tolist() == [0, 2]
    assert shared(units, "train", "validation").tolist() == [True, False]


@pytest.mark.parametrize("zone", range(-11, 13))
def test_no_evening_is_cut_in_two_whatever_the_time_zone(zone: int) -> None:
    """A shop open from 6 to 23 local time: its days are its own, not those of UTC."""
    random = np.random.default_rng(zone + 20)
    day = random.integers(40, size=3000)
    local = MIDNIGHT + day * 24 * HOUR + random.uniform(6, 23, size=3000) * HOUR
    held = day % 4 == 0
    units = units_of({"train": local[~held] - zone * HOUR, "validation": local[held] - zone * HOUR})
    assert not shared(units, "train", "validation").any()
    assert len(np.unique(units["validation"])) == 10


def test_other_numbers_and_text_are_units_by_value() -> None:
    days = units_of({"train": np.repeat([101.0, 102, 103], 5), "validation": np.repeat([103.0, 104], 5)})
    assert shared(days, "train", "validation").tolist() == [True] * 5 + [False] * 5
    groups = units_of({"train": np.array(["a", "b"], object), "validation": np.array(["b", ""], object)})
    assert shared(groups, "train", "validation").tolist() == [True, False]


def test_a_continuous_number_is_cut_into_stretches() -> None:
    found = units_of({"train": np.linspace(0, 1, 700), "validation": np.linspace(1, 2, 300)})
    assert shared(found, "train", "validation").mean() < 0.1
    assert len(np.unique(np.concatenate(list(found.values())))) == 50


def test_a_part_without_the_column_leaves_no_units() -> None:
    assert units_of({"train": None, "validation": np.array([1.0])}) == {}
    assert units_of({"train": None, "validation": None}) == {}
