"""The record of one prediction, as the inference log holds it."""

from __future__ import annotations

import msgspec

from penstock.records.record import Scalar

Column = list[Scalar | list[object]]
"""One entry a row: a value, or a row of a matrix as a list."""


class Exchange(msgspec.Struct, frozen=True, array_like=True):
    """The record of one answered request of one or more rows; row i's prediction id is ``<id>.<i>``.

    Stored positionally: fields are only ever appended, and old readers ignore what they do not know.

    Attributes:
        id: Ours, unique.
        event_time: When it happened for the caller; `received_at` where they did not say.
        share: The variant's share when it was chosen.
        key: The routing key; the id where the caller gave none.
        latency_s: From the request's last byte to the answer handed to the kernel.
        code: ``ok`` or the error's code.
        inputs: Conformed inputs by name, one entry a row; empty where decoding failed.
        outputs: Outputs by name, one entry a row; empty on errors.
        shadow: Nobody was answered with it.
    """

    id: str
    endpoint: str
    release: int
    model: str
    version: int
    variant: str
    share: float
    key: str
    event_time: float
    received_at: float
    latency_s: float
    code: str
    rows: int
    inputs: dict[str, Column]
    outputs: dict[str, Column]
    client_id: str = ""
    shadow: bool = False
    subject: str = ""
