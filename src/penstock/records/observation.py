"""What was measured in production, what came true later, and what follows from either."""

from __future__ import annotations

from typing import Literal

from penstock.records.record import JSON, Record, Scalar


class Measurement(Record, frozen=True, kw_only=True):
    """What a rollout guard knows so far: evidence against the candidate, and for it.

    Attributes:
        test: error, latency, invalid, shift, outcome_loss.
        against: E-value against "the candidate is no worse"; roll back at ``threshold``.
        supporting: E-value against "the candidate is worse by more than the margin".
        threshold: 1 / the test's part of alpha.
        units: Routing keys seen at the present share, by variant.
        failures: Units that failed at least once, by variant.
        requests: Requests seen, by variant.
        event_time: Watermark of the evidence.
        share: The candidate's share that `units` were counted at; they start again when it changes.
        began: Event time of the first request at this share.
    """

    endpoint: str
    release: int
    test: str
    against: float
    supporting: float
    threshold: float
    units: dict[str, int] = {}
    failures: dict[str, int] = {}
    requests: dict[str, int] = {}
    event_time: float = 0.0
    share: float = 0.0
    began: float = 0.0


class Outcome(Record, frozen=True, kw_only=True):
    """The truth about one prediction, as it came.

    Attributes:
        prediction: ``<id>.<row>``.
        value: Label or number.
        at: When it became true for the world (event time).
        received_at: When we learned of it.
        source: Who says so.
    """

    prediction: str
    value: str | int | float | bool
    at: float
    received_at: float = 0.0
    source: str = ""


class Incident(Record, frozen=True, kw_only=True):
    """What a monitor opens when a person is needed: one per endpoint and cause.

    Attributes:
        cause: Stable key (``calibration``, ``schema:temp``, ``rollout``).
        severity: ``page`` now, ``ticket`` today, ``record`` for the report only.
        effect: What it does to answers, with figures.
        guarantee: The false-alarm rate it was raised under, in words.
        closes: What has to be seen for it to close by itself.
        opened_at: Event time; so is `closed_at`, 0 while open.
    """

    endpoint: str
    cause: str
    severity: Literal["page", "ticket", "record"]
    title: str
    effect: str
    guarantee: str
    closes: str
    opened_at: float
    closed_at: float = 0.0
    evidence: JSON = {}


class Proposal(Record, frozen=True, kw_only=True):
    """What feedback proposes to do: a record, not an act."""

    endpoint: str
    action: Literal["retrain", "recalibrate", "rollback"]
    reason: str
    evidence: dict[str, Scalar] = {}
    at: float = 0.0
