"""Captures as a table of predictions: Arrow columns, one row a prediction.

Comes in: payloads of the journal. Goes out: an Arrow table. Runs of the same variant and the same columns are laid on
one pile first, so that what a row costs does not depend on how many requests shared a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import msgspec
import pyarrow as pa

from penstock.log.captures import Block, Capture, decode, json_column

EXCHANGES = pa.schema(
    [
        ("prediction", pa.string()), ("id", pa.string()), ("row", pa.int32()), ("endpoint", pa.string()),
        ("release", pa.int64()), ("model", pa.string()), ("version", pa.int64()), ("variant", pa.string()),
        ("share", pa.float64()), ("key", pa.string()), ("event_time", pa.float64()), ("received_at", pa.float64()),
        ("latency_s", pa.float64()), ("code", pa.string()), ("inputs", pa.string()), ("outputs", pa.string()),
        ("client_id", pa.string()), ("shadow", pa.bool_()), ("subject", pa.string()), ("day", pa.string()),
    ]
)  # fmt: skip
"""One row a prediction; `inputs` and `outputs` are JSON objects of its values by name; `day` is of event time."""

T = TypeVar("T")
_SAME = ("endpoint", "release", "model", "version", "variant", "share", "code", "shadow")
_json = msgspec.json.Encoder().encode


class _Pile:
    """Requests of one variant with the same columns, run after run."""

    def __init__(self, first: Capture) -> None:
        self.first = first
        self.lengths: list[int] = []
        self.received: list[float] = []
        self.texts: dict[str, list[str]] = {"id": [], "key": [], "client_id": [], "subject": []}
        self.times: list[float] = []
        self.latencies: list[float] = []
        self.blocks: list[tuple[Block, ...]] = []

    def add(self, capture: Capture) -> None:
        """Lay a run's requests on it; one that has no rows is one row without values."""
        requests = len(capture.ids)
        self.lengths += [max(rows, 1) for rows in capture.rows] or [1] * requests
        self.received += [capture.received_at] * requests
        self.texts["id"] += capture.ids
        self.texts["key"] += capture.keys or capture.ids
        self.texts["client_id"] += capture.client_ids or [""] * requests
        self.texts["subject"] += capture.subjects or [""] * requests
        self.times += capture.event_times or [capture.received_at] * requests
        self.latencies += capture.latencies_s
        self.blocks.append((*capture.inputs, *capture.outputs))

    def table(self) -> pa.Table:
        """The pile as rows.

        Raises:
            Corrupt: An array is not as large as it says.
        """
        lengths, whole = self.lengths, sum(self.lengths)
        columns: dict[str, Sequence[object]] = {name: _each(texts, lengths) for name, texts in self.texts.items()}
        columns["row"] = [row for length in lengths for row in range(length)]
        columns["prediction"] = [f"{own}.{row}" for own, row in zip(columns["id"], columns["row"], strict=True)]
        columns["received_at"] = _each(self.received, lengths)
        times = _each(self.times, lengths)
        columns["event_time"] = times
        columns["latency_s"] = _each(self.latencies, lengths)
        columns["day"] = [day(at) for at in times]
        inputs = len(self.first.inputs)
        blocks = [_joined(one) for one in zip(*self.blocks, strict=True)]
        columns["inputs"] = _objects(blocks[:inputs], whole)
        columns["outputs"] = _objects(blocks[inputs:], whole)
        arrays = {
            name: pa.repeat(pa.scalar(getattr(self.first, name), EXCHANGES.field(name).type), whole) for name in _SAME
        }
        arrays |= {name: pa.array(values, EXCHANGES.field(name).type) for name, values in columns.items()}
        return pa.table([arrays[name] for name in EXCHANGES.names], EXCHANGES)


def exchange_table(payloads: Sequence[bytes]) -> pa.Table:
    """The predictions of captures.

    Raises:
        DecodeError: Of msgspec: a payload is no capture.
        Corrupt: A newer Penstock wrote one, or its arrays are not as large as they say.
    """
    piles: dict[tuple[object, ...], _Pile] = {}
    for payload in payloads:
        capture = decode(payload)
        kind = tuple([getattr(capture, name) for name in _SAME])
        shape = tuple([(one.name, one.datatype, one.shape[1:]) for one in (*capture.inputs, *capture.outputs)])
        pile = piles.get((kind, len(capture.inputs), shape))
        if pile is None:
            pile = piles[kind, len(capture.inputs), shape] = _Pile(capture)
        pile.add(capture)
    return pa.concat_tables([pile.table() for pile in piles.values()]) if piles else EXCHANGES.empty_table()


@lru_cache(4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def day(at: float) -> str:
    """The date of a time, in UTC."""
    return _day(int(at // 86_400))


def _joined(blocks: Sequence[Block]) -> Block:
    """One input or output of all runs as one block."""
    first = blocks[0]
    parts = [block.data for block in blocks]
    if isinstance(first.data, bytes):
        rows = sum(block.shape[0] for block in blocks)
        data = b"".join([part for part in parts if isinstance(part, bytes)])
        return Block(first.name, first.datatype, (rows, *first.shape[1:]), data)
    values = [value for part in parts for value in part]
    return Block(first.name, first.datatype, first.shape, values)


def _each(values: Sequence[T], lengths: Sequence[int]) -> Sequence[T]:
    """Each request's value, once for each of its rows."""
    if len(lengths) == sum(lengths):
        return values
    return [value for value, length in zip(values, lengths, strict=True) for _ in range(length)]


def _objects(blocks: Sequence[Block], rows: int) -> list[bytes]:
    """Each row's values as a JSON object by name."""
    found = [json_column(block) for block in blocks]
    if not any(found):
        return [b"{}"] * rows
    names = [_json(block.name).replace(b"%", b"%%") for block in blocks]
    form = b"{%b}" % b",".join([name + b":%b" for name in names])
    return [form % row for row in zip(*found, strict=True)]
