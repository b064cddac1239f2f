"""Outcomes: what turned out to be true, written down and synced before anybody is told "recorded"."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import pandas as pd

from penstock.access.identities import require
from penstock.access.permissions import OUTCOME
from penstock.app.app import App
from penstock.errors import InvalidInput
from penstock.records import Outcome

MOST = 100_000


def record_outcomes(app: App, endpoint: str, outcomes: Sequence[Outcome]) -> int:
    """Append outcomes; they survive a power cut once this returns.

    An outcome may come before its prediction has reached the tables, or twice: the join takes the latest received.

    Raises:
        NotFound: There is no such endpoint.
        InvalidInput: There are none, too many, or one has no prediction id.
    """
    require(app.identity, OUTCOME, endpoint=endpoint)
    app.state().endpoint(endpoint)
    if not 0 < len(outcomes) <= MOST:
        raise InvalidInput("there are no outcomes, or too many at once", f"send 1 to {MOST:,}", where="outcomes")
    for position, outcome in enumerate(outcomes):
        if not 3 <= len(outcome.prediction) <= 100 or "." not in outcome.prediction:
            raise InvalidInput(
                "that is no prediction id",
                "give the id that came with the answer",
                where=f"outcomes[{position}].prediction",
            )
    received = time.time()
    stamped = [
        outcome if outcome.received_at else msgspec.structs.replace(outcome, received_at=received)
        for outcome in outcomes
    ]
    app.outcome_log.append(stamped)
    return len(stamped)


def outcomes_from_table(frame: pd.DataFrame) -> list[Outcome]:
    """Rows with the columns ``prediction``, ``value`` and, where known, ``at`` (epoch seconds or a timestamp).

    Raises:
        InvalidInput: A column is missing.
    """
    for column in ("prediction", "value"):
        if column not in frame:
            raise InvalidInput("the table lacks a column", "it needs prediction and value", where=column)
    at = pd.Series(0.0, index=frame.index)
    if "at" in frame:
        numbers = pd.api.types.is_numeric_dtype(frame["at"])
        at = frame["at"] if numbers else pd.to_datetime(frame["at"], utc=True).astype("int64") / 1e9
    return [
        Outcome(prediction=str(prediction), value=value, at=float(when))
        for prediction, value, when in zip(frame["prediction"], frame["value"].tolist(), at, strict=True)
    ]
