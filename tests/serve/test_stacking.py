"""Rows packed one by one are the array that their values make as one long list, missing ones and texts included."""

from __future__ import annotations

import struct
from itertools import chain

import numpy as np
import pytest

from penstock.serve.stacking import Stacking, stacking_of
from penstock.tensors import DTYPES, Signature, TensorSpec


def stacking(datatype: str, shape: tuple[int, ...]) -> Stacking:
    spec = TensorSpec(name="X", datatype=datatype, shape=shape, nullable=True)
    found = stacking_of(Signature(inputs=(spec,), outputs=(spec,)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("datatype", "shape", "rows"),
    [
        ("FP32", (-1, 3), [(1.5, 2, -0.0), (1e-50, 3.4e38, 0.1)]),
        ("FP32", (-1, 3), [(1.5, None, 2.0), (None, 3.0, 4.0)]),
        ("FP64", (-1,), [(0.1,), (None,), (3.0,)]),
        ("INT8", (-1, 2), [(1, -128), (127, 0)]),
        ("BOOL", (-1, 2), [(True, False)]),
        ("BYTES", (-1, 2), [("a", None), ("", "é")]),
    ],
)
def test_rows_are_stacked_as_one_list_of_their_values_is(datatype: str, shape: tuple, rows: list[tuple]) -> None:
    one = stacking(datatype, shape)
    wanted = one.stack([list(chain.from_iterable(rows))], len(rows))["X"]
    found = one.stack_rows(rows)["X"]
    assert (found.dtype, found.shape) == (DTYPES[datatype], (len(rows), *shape[1:]))
    assert np.array_equal(found, wanted, equal_nan=datatype != "BYTES")
    assert repr(found.tolist()) == repr(wanted.tolist())
    if datatype != "BYTES":
        by_numpy = np.array(rows, DTYPES[datatype]).reshape(found.shape)
        assert repr(found.tolist()) == repr(by_numpy.tolist())


@pytest.mark.parametrize(("datatype", "value"), [("INT8", 128), ("UINT16", -1), ("INT64", None)])
def test_what_does_not_fit_is_refused(datatype: str, value: object) -> None:
    with pytest.raises(struct.error):
        stacking(datatype, (-1, 2)).stack_rows([(1, 2), (3, value)])


def test_a_float_out_of_range_is_refused() -> None:
    with pytest.raises(OverflowError):
        stacking("FP32", (-1, 1)).stack_rows([(1e39,)])
