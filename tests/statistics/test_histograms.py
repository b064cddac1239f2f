"""Fixed-bin profiles: every row is counted once, and counts add up over any split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.errors import Conflict, Corrupt
from penstock.statistics import histograms

FLOATS = arrays.arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=True, allow_infinity=True))
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "b", "c"]), st.text(max_size=3)), max_size=40)


def reference() -> histograms.Profile:
    random = np.random.default_rng(0)
    return histograms.fit(
        {
            "x": random.normal(size=5_000),
            "small": random.integers(0, 4, 5_000),
            "flag": random.random(5_000) < 0.3,
            "rain": np.where(random.random(5_000) < 0.9, 0.0, random.exponential(size=5_000)),
            "text": random.choice(np.array(["a", "b", "c"], dtype=object), 5_000),
            "empty": np.full(5_000, np.nan),
        }
    )


@given(reference=FLOATS, values=FLOATS)
def test_each_number_is_in_one_bin(reference: np.ndarray, values: np.ndarray) -> None:
    bins = histograms.fit({"x": reference})
    found = histograms.count(bins, {"x": values}).columns["x"]
    assert min(found.counts) >= 0
    assert found.rows == len(values) == found.body().sum()
    assert found.missing == np.isnan(values).sum()
    assert len(found.labels()) == len(found.body())


@given(reference=TEXTS, values=TEXTS)
def test_each_text_is_in_one_bin(reference: list[str | None], values: list[str | None]) -> None:
    bins = histograms.fit({"x": np.array(reference, dtype=object)})
    found = histograms.count(bins, {"x": np.array(values, dtype=object)}).columns["x"]
    known = {value for value in reference if value}
    assert found.unusual == sum(1 for value in values if value and value not in known)
    assert found.missing == sum(1 for value in values if not value)
    assert found.rows == len(values)
    assert len(found.labels()) == len(found.body())


def test_deciles_hold_a_tenth_each() -> None:
    shares = np.array(reference().columns["x"].body())[:-1] / 5_000
    assert np.allclose(shares, 0.1, atol=0.001)


def test_few_values_and_a_spike_have_bins_of_their_own() -> None:
    columns = reference().columns
    assert len(columns["small"].body()) == 4 + 1
    assert len(columns["flag"].body()) == 2 + 1
    assert columns["rain"].body()[0] == pytest.approx(4_500, abs=100)


def test_what_lies_outside_the_reference_is_unusual() -> None:
    found = histograms.count(
        reference(), {"x": np.array([0.0, 99.0, -99.0, np.inf, np.nan]), "text": np.array(["a", "z"], dtype=object)}
    )
    assert found.columns["x"].unusual == 3
    assert found.columns["text"].unusual == 1
    assert found.columns["small"].rows == 0
    assert found.rows == 5


def test_a_column_of_the_wrong_type_counts_as_missing() -> None:
    found = histograms.count(reference(), {"x": np.array(["one", 2.0, None], dtype=object)})
    assert found.columns["x"].missing == 2


@given(cut=st.integers(0, 500))
def test_merging_is_exact(cut: int) -> None:
    random = np.random.default_rng(1)
    table = {"x": random.normal(size=500), "text": random.choice(np.array(["a", "q", ""], dtype=object), 500)}
    bins = reference()
    parts = [
        histograms.count(bins, {name: values[part] for name, values in table.items()})
        for part in (slice(None, cut), slice(cut, None))
    ]
    whole = histograms.count(bins, table)
    assert histograms.merge(*parts) == histograms.merge(*reversed(parts)) == whole


def test_other_bins_do_not_merge() -> None:
    with pytest.raises(Conflict):
        histograms.merge(reference(), histograms.fit({"x": np.arange(3.0)}))


def test_it_survives_writing() -> None:
    profile = reference()
    assert histograms.decode(histograms.encode(profile)) == profile
    with pytest.raises(Corrupt):
        histograms.decode(histograms.encode(profile).replace(b'"columns"', b'"format":99,"columns"'))
    with pytest.raises(Corrupt):
        histograms.decode(b"{}")


def test_the_state_of_twenty_columns_is_small() -> None:
    random = np.random.default_rng(2)
    profile = histograms.fit({f"x{index}": random.normal(size=10_000) for index in range(20)})
    assert len(histograms.encode(profile)) < 64 * 1024
