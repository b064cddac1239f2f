"""Whatever arrays come in, `conform` gives the signature's types and ranks or says which field is at fault."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.errors import InvalidInput
from penstock.tensors import DTYPES, FLOATS, Signature, TensorSpec, conform, datatype_of

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="age", datatype="INT64", shape=(-1, 1)),
        TensorSpec(name="income", datatype="FP64", shape=(-1, 1), nullable=True),
        TensorSpec(name="plan", datatype="BYTES", shape=(-1, 1)),
    ),
    outputs=(TensorSpec(name="label", datatype="INT64", shape=(-1,)),),
)


def rows(count: int) -> dict[str, np.ndarray]:
    return {
        "age": np.arange(count),
        "income": np.linspace(0, 1, count),
        "plan": np.array(["basic"] * count, dtype=object),
    }


@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_has_one_dtype(datatype: str) -> None:
    assert datatype_of(DTYPES[datatype]) == datatype


def test_numbers_that_no_protocol_carries_are_refused() -> None:
    with pytest.raises(InvalidInput):
        datatype_of(np.dtype(np.complex128))


@given(st.integers(1, 50))
def test_columns_may_come_flat_or_upright(count: int) -> None:
    flat = conform(SIGNATURE, rows(count))
    upright = conform(SIGNATURE, {name: array.reshape(-1, 1) for name, array in rows(count).items()})
    for name, array in flat.items():
        assert array.shape == (count, 1)
        assert array.flags.c_contiguous
        assert (array == upright[name]).all()


def test_whole_numbers_widen_and_fractions_never_shrink() -> None:
    assert conform(SIGNATURE, rows(2) | {"income": np.array([1, 2])})["income"].dtype == np.float64
    assert conform(SIGNATURE, rows(2) | {"age": np.array([1, 2], dtype=np.int8)})["age"].dtype == np.int64
    with pytest.raises(InvalidInput, match=r"inputs\.age\.datatype"):
        conform(SIGNATURE, rows(2) | {"age": np.array([1.5, 2.0])})


def test_a_missing_number_needs_a_model_that_knows_them() -> None:
    assert np.isnan(conform(SIGNATURE, rows(2) | {"income": np.array([np.nan, 1.0])})["income"][0, 0])
    strict = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1,)),), outputs=SIGNATURE.outputs)
    with pytest.raises(InvalidInput, match=r"inputs\.x"):
        conform(strict, {"x": np.array([1.0, np.nan], dtype=np.float32)})
    with pytest.raises(InvalidInput, match=r"inputs\.income"):
        conform(SIGNATURE, rows(2) | {"income": np.array([np.inf, 1.0])})


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"age": np.arange(3)}, "inputs."),
        ({"shoe": np.arange(2)}, r"inputs\[3\]\.name"),
        ({"age": np.zeros((2, 2), dtype=np.int64)}, r"inputs\.age\.shape"),
        ({"age": np.array(["1", "2"], dtype=object)}, r"inputs\.age\.datatype"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, np.ndarray], where: str) -> None:
    with pytest.raises(InvalidInput, match=where) as refusal:
        conform(SIGNATURE, rows(2) | change)
    assert "shoe" not in str(refusal.value)


def test_nothing_and_too_little_are_refused() -> None:
    with pytest.raises(InvalidInput, match="rows"):
        conform(SIGNATURE, rows(0))
    with pytest.raises(InvalidInput, match=r"inputs\.plan"):
        conform(SIGNATURE, {name: array for name, array in rows(2).items() if name != "plan"})


NUMBERS = [dtype for dtype in DTYPES.values() if dtype.kind != "O"]


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    st.sampled_from([name for name in DTYPES if name != "BYTES"]),
)
def test_any_array_is_taken_whole_or_refused(array: np.ndarray, datatype: str) -> None:
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype=datatype, shape=(-1, 2), nullable=True),), outputs=SIGNATURE.outputs
    )
    try:
        taken = conform(signature, {"x": array})["x"]
    except InvalidInput as refusal:
        refused = refusal
    else:
        refused = None
    if refused is not None:
        assert refused.where.startswith("inputs.x")
        return
    assert taken.dtype == DTYPES[datatype]
    assert taken.shape == (len(array), 2)
    if datatype not in FLOATS:
        assert taken.ravel().tolist() == [DTYPES[datatype].type(value) for value in array.ravel()]
