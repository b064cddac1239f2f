from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.errors import InvalidInput
from penstock.serve.tensordata import from_json, from_raw, to_raw, without_nan
from penstock.tensors import DTYPES, Array

NUMBERS = sorted(set(DTYPES) - {"BYTES"})
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)


def json_of(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, Array]:
    name = draw(st.sampled_from(NUMBERS))
    return name, draw(hnp.arrays(DTYPES[name], draw(SHAPES)))


@given(arrays())
def test_raw_bytes_come_back_bit_by_bit(given_: tuple[str, Array]) -> None:
    name, array = given_
    back = from_raw(memoryview(to_raw(array)), name, list(array.shape), where="x")
    assert back.tobytes() == array.tobytes()
    assert back.dtype == array.dtype


@given(arrays().filter(lambda pair: pair[0] != "FP16"), st.booleans())
def test_json_comes_back_flat_or_nested(given_: tuple[str, Array], nested: bool) -> None:
    name, array = given_
    data = array.tolist() if nested else array.ravel().tolist()
    back = from_json(json_of(data), name, list(array.shape), where="x")
    finite = np.where(np.isfinite(array), array, np.nan) if array.dtype.kind == "f" else array
    np.testing.assert_array_equal(back, finite)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_texts_come_back(texts: list[str]) -> None:
    array = np.array([*texts, ""], object)[:-1]
    whole = [text for text in texts if text.isascii() or text.encode("utf-8", "ignore").decode() == text]
    if len(whole) != len(texts):
        return
    assert from_raw(memoryview(to_raw(array)), "BYTES", [len(texts)], where="x").tolist() == texts
    assert from_json(json_of(texts), "BYTES", [len(texts)], where="x").tolist() == texts


@given(st.binary(max_size=40), st.sampled_from(sorted(DTYPES)), st.lists(st.integers(-2, 5), max_size=3))
def test_any_bytes_are_an_array_or_refused(data: bytes, name: str, shape: list[int]) -> None:
    try:
        array = from_raw(memoryview(data), name, shape, where="inputs[0]")
    except InvalidInput:
        return
    assert list(array.shape) == shape


def test_a_text_longer_than_the_body_is_refused() -> None:
    with pytest.raises(InvalidInput):
        from_raw(memoryview(struct.pack("<I", 2**32 - 1) + b"x"), "BYTES", [1], where="x")


@given(st.text())
def test_nan_is_null_only_outside_of_texts(text: str) -> None:
    body = msgspec.json.encode({"text": f'NaN {text} \\ " -NaN'})
    assert without_nan(body) == body
    assert without_nan(b"[NaN,-NaN, NaN]") == b"[null,null, null]"
    with pytest.raises(InvalidInput):
        without_nan(b"[-Infinity]")
