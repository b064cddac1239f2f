"""What the large reader takes, it reads as the general one does; what it does not take, that one answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.serve.inferrequest import LARGE_BYTES, Requests, typed_form
from penstock.serve.readers.largejson import LargeJson
from penstock.tensors import Signature, TensorSpec

SPEC = TensorSpec(name="image", datatype="FP32", shape=(-1, 3, -1), nullable=True)
SIGNATURE = Signature(inputs=(SPEC,), outputs=())
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 1e39, 3.4028235e38, 1e-50]),
)
ODD = st.sampled_from([None, True, "1", [], [1.0], {}])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    values: list = draw(st.lists(NUMBERS, min_size=3, max_size=9))
    if draw(st.integers(0, 4)) == 0:
        values[draw(st.integers(0, len(values) - 1))] = draw(ODD)
    shapes = st.sampled_from([[1, 3, len(values) // 3], [len(values)], [1, 3, -1], [1, 3, 1.0], [], ["1"]])
    tensor: dict = {"name": "image", "shape": draw(shapes), "datatype": "FP32", "data": values}
    if draw(st.integers(0, 9)) == 0:
        tensor |= draw(st.sampled_from([{"parameters": {}}, {"name": "other"}, {"datatype": "FP64"}]))
    body: dict = {"inputs": [tensor]}
    body |= draw(st.sampled_from([{}, {"id": "mine"}, {"id": None}, {"id": 7}, {"parameters": {}}]))
    text = json.dumps(body)
    cut = draw(
        st.sampled_from([text, text, text, text[:-1], text + "x", text.replace('"id"', '"inputs"'), f" {text}\n"])
    )
    return cut.encode()


@given(bodies())
@settings(max_examples=500, deadline=None)
def test_it_reads_what_the_general_reader_reads(body: bytes) -> None:
    found = LargeJson.read(body, SPEC)
    if found is None:
        return
    wanted = Requests().from_json(body, SIGNATURE)
    own_id, array = found
    assert own_id == wanted.client_id
    (name,) = wanted.arrays
    assert name == "image"
    assert array.dtype == wanted.arrays[name].dtype
    np.testing.assert_array_equal(array, wanted.arrays[name])


def image(size: int = 4096) -> bytes:
    values = np.random.default_rng(3).normal(size=3 * size).astype(np.float32)
    return json.dumps(
        {"inputs": [{"name": "image", "shape": [1, 3, size], "datatype": "FP32", "data": values.tolist()}]}
    ).encode()


def test_a_large_body_is_read_by_it_and_gives_the_same_array(monkeypatch: pytest.MonkeyPatch) -> None:
    body = image()
    assert len(body) > LARGE_BYTES
    assert LargeJson.read(body, SPEC) is not None
    large = Requests().from_json(body, SIGNATURE).arrays["image"]
    typed = typed_form(SIGNATURE)
    assert typed is not None
    np.testing.assert_array_equal(large.ravel(), np.array(typed.flat(body).inputs[0].data, np.float32))


@pytest.mark.parametrize("wrong", [b'"x"', b"[1]", b"1e999", b"truth"])
def test_a_large_body_that_is_wrong_is_told_where(wrong: bytes) -> None:
    first = image().index(b'"data": [') + len(b'"data": [')
    body = image()[:first] + wrong + b", " + image()[first:]
    with pytest.raises(InvalidInput) as refused:
        Requests().from_json(body, SIGNATURE)
    assert "data" in refused.value.where or refused.value.code == "input.malformed"
