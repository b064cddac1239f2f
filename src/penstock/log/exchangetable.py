"""Captures as a table of predictions: Arrow columns, one row a prediction.

Comes in: payloads of the journal. Goes out: an Arrow table. Runs of the same variant and the same columns are laid on
one pile first, and a pile becomes columns without a step of Python for each row, hardly one for each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from penstock.log.captures import Block, Capture, decode
from penstock.log.jsoncolumn import json_column

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
_who = attrgetter(*_SAME)
_form = attrgetter("name", "datatype", "shape")
_json = msgspec.json.Encoder().encode


def exchange_table(payloads: Sequence[bytes]) -> pa.Table:
    """The predictions of captures.

    Raises:
        DecodeError: Of msgspec: a payload is no capture.
        Corrupt: A newer Penstock wrote one, or its arrays are not as large as they say.
    """
    piles: dict[tuple[object, ...], list[Capture]] = {}
    known: dict[tuple[object, ...], list[Capture]] = {}
    for capture in map(decode, payloads):
        inputs, outputs = tuple(map(_form, capture.inputs)), tuple(map(_form, capture.outputs))
        kind = (_who(capture), inputs, outputs)
        pile = known.get(kind)
        if pile is None:
            # Runs that differ in nothing but their number of rows lie on one pile.
            pile = known[kind] = piles.setdefault((kind[0], _rowless(inputs), _rowless(outputs)), [])
        pile.append(capture)
    return pa.concat_tables(map(_table, piles.values())) if piles else EXCHANGES.empty_table()


def _rowless(forms: Sequence[tuple[str, str, tuple[int, ...]]]) -> tuple[object, ...]:
    """The forms of inputs or outputs without their numbers of rows."""
    return tuple([(name, datatype, shape[1:]) for name, datatype, shape in forms])


def _table(pile: Sequence[Capture]) -> pa.Table:
    """Runs of one variant with the same columns as rows; a request that has no rows is one row without values.

    Raises:
        Corrupt: An array is not as large as it says.
    """
    requests = np.array([len(capture.ids) for capture in pile])
    ids = pa.array(_flat([capture.ids for capture in pile]), pa.string())
    received = np.repeat([capture.received_at for capture in pile], requests)
    times = _times(pile, received)
    columns: dict[str, pa.Array] = {
        "id": ids,
        "key": _texts(pile, "keys", ids),
        "client_id": _texts(pile, "client_ids"),
        "subject": _texts(pile, "subjects"),
        "received_at": pa.array(received),
        "event_time": pa.array(times),
        "latency_s": pa.array(_flat([capture.latencies_s for capture in pile]), pa.float64()),
        "day": _days(times),
    }
    rows = np.zeros(len(ids), np.int32)
    if any(capture.rows for capture in pile):
        lengths = np.array([max(many, 1) for capture in pile for many in capture.rows or [1] * len(capture.ids)])
        places = np.repeat(np.arange(len(ids)), lengths)
        columns = {name: column.take(pa.array(places)) for name, column in columns.items()}
        rows = (np.arange(len(places)) - np.repeat(lengths.cumsum() - lengths, lengths)).astype(np.int32)
    columns["row"] = pa.array(rows)
    columns["prediction"] = pc.binary_join_element_wise(columns["id"], columns["row"].cast(pa.string()), ".")
    columns["inputs"] = _objects([capture.inputs for capture in pile], len(rows))
    columns["outputs"] = _objects([capture.outputs for capture in pile], len(rows))
    for name, value in zip(_SAME, _who(pile[0]), strict=True):
        columns[name] = pa.repeat(pa.scalar(value, EXCHANGES.field(name).type), len(rows))
    return pa.table([columns[name] for name in EXCHANGES.names], EXCHANGES)


def _flat(parts: Sequence[Sequence[T]]) -> list[T]:
    """All of all of them."""
    return list(chain.from_iterable(parts))


def _texts(pile: Sequence[Capture], name: str, usual: pa.Array | None = None) -> pa.Array:
    """One text a request; what is usual, or the empty text, where a run has none."""
    found: list[Sequence[str]] = [getattr(capture, name) for capture in pile]
    if not any(found):
        return pa.repeat("", sum(len(capture.ids) for capture in pile)) if usual is None else usual
    for place, capture in enumerate(pile):
        found[place] = found[place] or ([""] * len(capture.ids) if usual is None else capture.ids)
    return pa.array(_flat(found), pa.string())


def _times(pile: Sequence[Capture], received: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each request's event time."""
    if not any(capture.event_times for capture in pile):
        return received
    return np.array([at for run in pile for at in run.event_times or [run.received_at] * len(run.ids)], np.float64)


def _days(times: npt.NDArray[np.float64]) -> pa.Array:
    """Each time's date, in UTC."""
    days, places = np.unique(times // 86_400, return_inverse=True)
    return pa.array([_day(int(number)) for number in days], pa.string()).take(pa.array(places))


@lru_cache(4096)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def day(at: float) -> str:
    """The date of a time, in UTC."""
    return _day(int(at // 86_400))


def _objects(runs: Sequence[tuple[Block, ...]], rows: int) -> pa.Array:
    """Each row's values as a JSON object by name."""
    blocks = [_joined(blocks) for blocks in zip(*runs, strict=True)]
    found = [json_column(block) for block in blocks]
    if not any(map(len, found)):
        return pa.repeat("{}", rows)
    names = [_json(block.name).decode() for block in blocks]
    pieces = [piece for name, texts in zip(names, found, strict=True) for piece in (f",{name}:", texts)]
    return pc.binary_join_element_wise("{" + pieces[0][1:], *pieces[1:], "}", "")


def _joined(blocks: Sequence[Block]) -> Block:
    """One input or output of all runs as one block."""
    first = blocks[0]
    if isinstance(first.data, bytes):
        data = b"".join(cast("list[bytes]", [block.data for block in blocks]))
        return Block(first.name, first.datatype, (sum([block.shape[0] for block in blocks]), *first.shape[1:]), data)
    return Block(first.name, first.datatype, first.shape, [value for block in blocks for value in block.data])
