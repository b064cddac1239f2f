"""Outcomes meet their predictions, as of a time: what was known then, and nothing that came later.

What comes in: a table with a column ``prediction``, and outcomes. What goes out: the same table with ``outcome`` (as
JSON; of several the last one received), ``outcome_at`` and ``known_at``; null where nothing was known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb
import msgspec
import pyarrow as pa

from penstock.records import Outcome, Scalar
from penstock.statistics.answers import labels_of

SCHEMA = pa.schema(
    {
        "prediction": pa.string(),
        "value": pa.string(),
        "at": pa.float64(),
        "received_at": pa.float64(),
        "source": pa.string(),
    }
)

_JSON = msgspec.json.Encoder()

JOIN = """
    with latest as (
        select prediction, arg_max(value, received_at) as outcome, arg_max("at", received_at) as outcome_at,
               max(received_at) as known_at
        from outcomes where received_at <= $until group by prediction
    )
    select predictions.*, latest.outcome, latest.outcome_at, latest.known_at
    from predictions left join latest using (prediction)
"""


def outcomes_table(outcomes: Iterable[Outcome]) -> pa.Table:
    """Outcomes as the log's table of them; values as JSON."""
    held = list(outcomes)
    columns = {
        "prediction": [one.prediction for one in held],
        "value": [_JSON.encode(one.value).decode() for one in held],
        "at": [one.at for one in held],
        "received_at": [one.received_at for one in held],
        "source": [one.source for one in held],
    }
    return pa.table(columns, schema=SCHEMA)


def join(predictions: pa.Table, outcomes: pa.Table, *, until: float = float("inf")) -> pa.Table:
    """Predictions with the outcomes received up to a time.

    Args:
        predictions: Any table with a text column ``prediction``; the order of rows is not kept.
        outcomes: As `outcomes_table` gives it.
        until: Seconds since the epoch; outcomes received later are not seen.
    """
    with duckdb.connect() as connection:
        connection.register("predictions", predictions)
        connection.register("outcomes", outcomes)
        return connection.sql(JOIN, params={"until": until}).to_arrow_table()


def with_labels(joined: pa.Table, classes: Sequence[Scalar] = ()) -> pa.Table:
    """The joined table with its outcomes as numbers, ``label``, to hold against ``score``; NaN where not known."""
    texts: list[str | None] = joined["outcome"].to_pylist()
    outcomes: list[Scalar] = [None if text is None else msgspec.json.decode(text) for text in texts]
    answers = joined["answer"].to_pylist() if "answer" in joined.column_names else outcomes
    return joined.append_column("label", pa.array(labels_of(outcomes, answers, classes), pa.float64()))
