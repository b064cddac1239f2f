from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from penstock.errors import Corrupt
from penstock.log.captures import FORMAT, Block, Capture, RunFields, Stem, blocks, captured, pack, pieces, unpack
from penstock.records import Exchange, Variant
from penstock.tensors import DTYPES

NUMBERS = st.sampled_from([dtype for name, dtype in DTYPES.items() if name != "BYTES"])


def capture(ids: list[str], inputs: dict, outputs: dict, **more: object) -> Capture:
    fixed = (FORMAT, "e", 7, "m", 3, "stable", 0.9, False, "ok", 5.0)
    return Capture(*fixed, ids, [0.1] * len(ids), blocks(inputs), blocks(outputs), **more)


@given(NUMBERS.flatmap(lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 5), st.integers(1, 4)))))
@settings(max_examples=80, deadline=None)
def test_each_request_reads_its_own_rows_of_any_array(array: np.ndarray) -> None:
    ids = [f"p{number}" for number in range(len(array))]
    found = unpack(pack(capture(ids, {"X": array}, {"y": array[:, 0]})))
    assert [one.id for one in found] == ids
    wanted = array.ravel() if array.shape[1] == 1 else array
    for row, one in enumerate(found):
        assert repr(one.inputs["X"]) == repr(wanted[row : row + 1].tolist())
        assert repr(one.outputs["y"]) == repr(array[row : row + 1, 0].tolist())
        assert (one.key, one.event_time, one.client_id, one.subject, one.rows) == (one.id, 5.0, "", "", 1)


def test_requests_of_several_rows_and_texts() -> None:
    texts = np.array([["a"], ["b"], [""]], object)
    made = capture(["one", "two"], {"t": texts}, {}, rows=[1, 2], keys=["k1", "k2"], event_times=[1.0, 2.0])
    one, two = unpack(pack(made))
    assert (one.inputs["t"], two.inputs["t"]) == (["a"], ["b", ""])
    assert (two.key, two.event_time, two.received_at) == ("k2", 2.0, 5.0)


def test_an_exchange_of_plain_values_comes_back_as_it_was() -> None:
    exchange = Exchange(
        "a", "e", 1, "m", 1, "canary", 0.1, "k", 1.0, 2.0, 0.1, "ok", 2,
        {"x": [1, None], "z": [[1.0, 2.0], [3.0, 4.0]]}, {"label": ["yes", "no"]}, "c", True, "ada",
    )  # fmt: skip
    assert unpack(pack(captured(exchange))) == [exchange]


def test_an_array_of_another_size_is_corrupt() -> None:
    made = msgspec.structs.replace(capture(["a"], {}, {}), inputs=(Block("X", "FP32", (1, 2), b"1234"),))
    with pytest.raises(Corrupt):
        unpack(pack(made))


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(Corrupt):
        unpack(pack(msgspec.structs.replace(capture(["a"], {}, {}), format=FORMAT + 1)))


@pytest.mark.parametrize("width", [1, 20_000])
def test_pieces_are_the_payload(width: int) -> None:
    arrays = {"small": np.zeros((2, 3), np.float32), "large": np.arange(2.0 * width).reshape(2, width)}
    made = capture(["a", "b"], arrays, {"y": arrays["large"].T[:2]})
    found = pieces(made)
    assert b"".join(found) == pack(made)
    # The large one is not copied.
    assert (width > 1) == any(type(piece) is memoryview for piece in found)


TEXT = st.text(max_size=40)


@given(TEXT, st.integers(0, 2**40), TEXT, TEXT, st.floats(0, 1), st.integers(1, 20), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_stem_and_the_rest_are_the_payload(
    endpoint: str, release: int, model: str, name: str, share: float, rows: int, large: bool
) -> None:
    shadow = rows % 2 == 0
    variant = Variant(name=name, model=model, version=release + 1, digest="d", share=share, shadow=shadow)
    ids = [f"p{number}" for number in range(rows)]
    inputs = blocks({"X": np.ones((rows, 20_000 if large else 2), np.float32), "t": np.array(["a"] * rows, object)})
    rest = (5.0, ids, [0.1] * rows, inputs, blocks({"y": np.arange(rows)}), (), ids, [7.0] * rows, ["c"] * rows, ids)
    whole = Capture(FORMAT, endpoint, release, model, release + 1, name, share, shadow, "ok", *rest)
    found = Stem(endpoint, release, variant, "ok").pieces(RunFields(*rest))
    assert b"".join(found) == b"".join(pieces(whole)) == pack(whole)
    assert len(found) == 1 or any(type(piece) is memoryview for piece in found)


def test_the_rest_of_a_capture_is_all_that_follows_its_stem() -> None:
    assert Capture.__struct_fields__[-len(RunFields.__struct_fields__) :] == RunFields.__struct_fields__
