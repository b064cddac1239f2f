"""Perturbed rows keep types, shapes and what the signature allows, whatever the rows."""

from __future__ import annotations

import gate_candidates as make
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from penstock.gate.perturbations import beyond, noisy, unseen, without
from penstock.tensors import DTYPES, Arrays, Signature, TensorSpec, conform


def rows(count: int = 50) -> Arrays:
    frame = make.baskets(count)
    return {
        spec.name: frame[spec.name].to_numpy(DTYPES[spec.datatype]).reshape(-1, 1) for spec in make.SIGNATURE.inputs
    }


def test_every_perturbation_still_conforms() -> None:
    inputs = rows()
    changed = [noisy(inputs, make.SIGNATURE, share=0.1, seed=1)]
    for way in (without, beyond, unseen):
        changed += [found for _, found in way(inputs, make.SIGNATURE)]
    assert len(changed) == 1 + 4 + 4 + 1
    for found in changed:
        conform(make.SIGNATURE, found)
        assert any((found[name] != inputs[name]).any() for name in inputs), "something did change"


def test_only_what_may_be_missing_goes_missing() -> None:
    names = [name for name, _ in without(rows(), make.SIGNATURE)]
    assert names == ["weight", "price", "weather", "shop"]


def test_noise_is_a_share_of_the_spread_and_whole_numbers_stay_whole() -> None:
    inputs = rows(5000)
    found = noisy(inputs, make.SIGNATURE, share=0.1, seed=1)
    moved = found["weight"] - inputs["weight"]
    assert moved.std() == pytest.approx(0.1 * inputs["weight"].std(), rel=0.1)
    assert found["items"].dtype == np.int64
    assert (found["shop"] == inputs["shop"]).all()
    again = noisy(inputs, make.SIGNATURE, share=0.1, seed=1)
    assert (found["weight"] == again["weight"]).all()


def test_each_column_of_a_matrix_is_changed_by_itself() -> None:
    spec = TensorSpec(name="X", datatype="FP32", shape=(-1, 3), nullable=True, columns=("a", "b", "c"))
    signature = Signature(inputs=(spec,), outputs=())
    inputs = {"X": np.arange(30, dtype=np.float32).reshape(10, 3)}
    for way in (without, beyond):
        for column, (name, found) in enumerate(way(inputs, signature)):
            differs = (found["X"] != inputs["X"]).any(axis=0)
            assert name == "abc"[column]
            assert np.flatnonzero(differs).tolist() == [column]
            assert found["X"].dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 20), st.just(1)), elements=st.floats(width=64, allow_infinity=False)),
    st.sampled_from(["INT64", "INT8", "UINT16", "FP32", "FP64"]),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_numbers_keep_their_type(values: np.ndarray, datatype: str) -> None:
    dtype = DTYPES[datatype]
    array = np.nan_to_num(values).clip(0, 100).astype(dtype) if dtype.kind in "iu" else values.astype(dtype)
    signature = Signature(inputs=(TensorSpec(name="x", datatype=datatype, shape=(-1, 1), nullable=True),), outputs=())
    inputs = {"x": array}
    changed = [noisy(inputs, signature, share=0.5, seed=0), *(found for _, found in beyond(inputs, signature))]
    for found in changed:
        assert found["x"].dtype == dtype
        assert found["x"].shape == array.shape
