"""The table says of each prediction what its exchange says, whatever lay together in a run and in a pile."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.errors import Corrupt
from penstock.log.captures import FORMAT, Block, Capture, blocks, captured, pack, unpack
from penstock.log.exchangetable import EXCHANGES, exchange_table
from penstock.records import Exchange
from penstock.tensors import DTYPES, Array

SAME = ("id", "endpoint", "release", "model", "version", "variant", "share", "key", "event_time", "received_at",
        "latency_s", "code", "client_id", "shadow", "subject")  # fmt: skip
DAY_S = 86_400.0


def rows_of(exchange: Exchange) -> list[dict[str, object]]:
    """What the table should hold of an exchange, value by value."""
    found = []
    for row in range(max(exchange.rows, 1)):
        kept: dict[str, object] = {name: getattr(exchange, name) for name in SAME}
        kept |= {"prediction": f"{exchange.id}.{row}", "row": row}
        for name in ("inputs", "outputs"):
            values = {key: column[row] for key, column in getattr(exchange, name).items() if row < len(column)}
            kept[name] = msgspec.json.decode(msgspec.json.encode(values))
        found.append(kept)
    return found


def read(payloads: list[bytes]) -> list[dict[str, object]]:
    table = exchange_table(payloads)
    assert table.schema == EXCHANGES
    table.validate(full=True)
    lines = table.to_pylist()
    for line in lines:
        line |= {name: msgspec.json.decode(line[name]) for name in ("inputs", "outputs")}
        assert line.pop("day") == str(np.datetime64(int(line["event_time"] // DAY_S), "D"))
    return lines


def in_order(lines: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(lines, key=lambda line: str(line["prediction"]))


def arrays_of(rows: int) -> st.SearchStrategy[Array]:
    def filled(name: str, rest: tuple[int, ...]) -> st.SearchStrategy[Array]:
        if name == "BYTES":
            return arrays.arrays(object, (rows, *rest), elements=st.text(max_size=4))
        return arrays.arrays(DTYPES[name], (rows, *rest))

    rests = st.sampled_from([(), (1,), (3,), (0,), (2, 2)])
    return st.tuples(st.sampled_from(sorted(DTYPES)), rests).flatmap(lambda kind: filled(*kind))


times = st.floats(0, 4e9, allow_nan=False)
texts = st.text(max_size=3)


@st.composite
def captures(draw: st.DrawFn, number: int) -> Capture:
    requests = draw(st.integers(1, 4))
    many = draw(st.sampled_from([(), tuple(draw(st.lists(st.integers(1, 3), min_size=requests, max_size=requests)))]))
    rows = sum(many) if many else requests
    ids = [f"p{number}-{place}" for place in range(requests)]

    def maybe(values: st.SearchStrategy[object]) -> list[object]:
        return draw(st.one_of(st.just([]), st.lists(values, min_size=requests, max_size=requests)))

    names = draw(st.lists(st.sampled_from(['a"', "b%s", "ü"]), unique=True, max_size=2))
    return Capture(
        FORMAT, "e", 1, "m", draw(st.integers(1, 2)), "stable", 0.5, draw(st.booleans()), "ok", draw(times), ids,
        [0.25] * requests, blocks({name: draw(arrays_of(rows)) for name in names}),
        blocks({"y": draw(arrays_of(rows))}), many, maybe(texts), maybe(times), maybe(texts), maybe(texts),
    )  # fmt: skip


@given(st.integers(1, 5).flatmap(lambda length: st.tuples(*[captures(number) for number in range(length)])))
@settings(max_examples=150, deadline=None)
def test_each_row_is_what_its_exchange_says(made: tuple[Capture, ...]) -> None:
    payloads = [pack(one) for one in made]
    wanted = [line for payload in payloads for exchange in unpack(payload) for line in rows_of(exchange)]
    assert in_order(read(payloads)) == in_order(wanted)


def test_a_long_pile_is_cut_where_each_row_ends() -> None:
    random = np.random.default_rng(1)
    payloads = []
    for number in range(900):
        rows = 1 + number % 3
        x = random.normal(size=(rows, 5)) * 10.0 ** random.integers(-30, 30, (rows, 5))
        x[0, number % 5] = (np.nan, np.inf, -0.0)[number % 3]
        ids = [f"{number}-{place}" for place in range(rows)]
        flags = {"flag": x[:, 0] > 0, "label": x[:, 1] > 0, "count": np.arange(rows, dtype=np.uint8)}
        payloads.append(
            pack(
                Capture(
                    FORMAT, "e", 1, "m", 1, "stable", 1.0, False, "ok", number * DAY_S / 450, ids, [0.1] * rows,
                    blocks({"X": x.astype(np.float32) if number % 2 else x}), blocks(flags),
                )
            )
        )  # fmt: skip
    wanted = [line for payload in payloads for exchange in unpack(payload) for line in rows_of(exchange)]
    assert in_order(read(payloads)) == in_order(wanted)


def test_plain_values_and_requests_without_any_are_rows_too() -> None:
    plain = Exchange(
        "a", "e", 1, "m", 1, "canary", 0.1, "k", 1.0, 2.0, 0.1, "ok", 2,
        {"x": [1, None], "z": [[1.0, 2.0], [3.0, 4.0]]}, {"label": ["yes", "no"]}, "c", True, "ada",
    )  # fmt: skip
    nothing = Exchange("b", "e", 1, "", 0, "", 0.0, "b", 1.0, 1.0, 0.0, "input.invalid", 0, {}, {})
    assert read([pack(captured(plain)), pack(captured(nothing))]) == rows_of(plain) + rows_of(nothing)
    assert exchange_table([]).num_rows == 0


def test_an_array_of_another_size_is_corrupt() -> None:
    short = (Block("X", "FP32", (1, 2), b"1234"),)
    made = Capture(FORMAT, "e", 1, "m", 1, "stable", 1.0, False, "ok", 1.0, ["a"], [0.1], short, ())
    with pytest.raises(Corrupt):
        exchange_table([pack(made)])
