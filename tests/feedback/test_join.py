"""The as-of join: the last thing known then, nothing from later."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.feedback.join import join, outcomes_table, with_labels
from penstock.records import Outcome


def predictions(count: int) -> pa.Table:
    return pa.table({"prediction": [f"p.{row}" for row in range(count)], "answer": ["1"] * count})


def outcome(row: int, value: object, received_at: float) -> Outcome:
    return Outcome(prediction=f"p.{row}", value=value, at=received_at - 1, received_at=received_at)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 20)), max_size=30, unique_by=lambda x: x[::2]
    ),
    st.integers(0, 20),
)
def test_it_is_the_last_outcome_known_then(events: list[tuple[int, int, int]], until: int) -> None:
    table = outcomes_table([outcome(row, value, float(at)) for row, value, at in events])
    joined = join(predictions(6), table, until=until).to_pylist()
    expected: dict[str, tuple[str, float]] = {}
    for row, value, at in sorted(events, key=lambda event: event[2]):
        if at <= until:
            expected[f"p.{row}"] = (str(value), float(at))
    assert len(joined) == 6
    found = {one["prediction"]: (one["outcome"], one["known_at"]) for one in joined if one["outcome"] is not None}
    assert found == expected


def test_labels_are_numbers() -> None:
    table = outcomes_table([outcome(0, True, 1.0), outcome(1, "no", 1.0), outcome(2, 1.0, 1.0)])
    joined = with_labels(join(predictions(4), table), (0, 1))
    by_id = dict(zip(joined["prediction"].to_pylist(), joined["label"].to_pylist(), strict=True))
    assert [by_id["p.0"], by_id["p.1"], by_id["p.2"]] == [1.0, 0.0, 1.0]
    assert by_id["p.3"] is None or np.isnan(by_id["p.3"])


def test_a_million_predictions_join() -> None:
    """Goal 14's size; how long it takes is in bench, not here."""
    n = 1_000_000
    ids = pa.array(np.char.add("id", np.arange(n).astype(str)))
    table = pa.table(
        {
            "prediction": ids[: int(n * 0.7)],
            "value": pa.array(["1"] * int(n * 0.7)),
            "at": pa.array(np.zeros(int(n * 0.7))),
            "received_at": pa.array(np.arange(n * 0.7)),
            "source": pa.array([""] * int(n * 0.7)),
        }
    )
    joined = join(pa.table({"prediction": ids}), table, until=300_000.5)
    assert joined.num_rows == n
    assert n - joined["outcome"].null_count == 300_001
