"""Rows from any body: what it means is told by the model, and what is unclear is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput
from penstock.serve.freebody import FreeBody
from penstock.tensors import Signature, TensorSpec

PLAIN, CSV, JSON, FIELDS = "text/plain", "text/csv", "application/json", "application/x-www-form-urlencoded"


def signature(*specs: TensorSpec) -> Signature:
    return Signature(inputs=specs, outputs=())


MATRIX = signature(TensorSpec(name="X", datatype="FP32", shape=(-1, 2)))
NAMED = signature(TensorSpec(name="X", datatype="FP32", shape=(-1, 2), columns=("a", "b")))
IMAGES = signature(TensorSpec(name="I", datatype="UINT8", shape=(-1, 1, 2, 2)))
COLUMNS = signature(
    TensorSpec(name="d", datatype="FP64", shape=(-1, 1)), TensorSpec(name="c", datatype="BYTES", shape=(-1, 1))
)
TEXT = signature(TensorSpec(name="t", datatype="BYTES", shape=(-1, 1)))
NUMBER = signature(TensorSpec(name="n", datatype="INT64", shape=(-1,)))
DATA = signature(TensorSpec(name="data", datatype="FP64", shape=(-1, 1)))

READ = [
    # model, content type, body, its arrays, many, envelope
    (MATRIX, "", "[1, 2]", {"X": [[1, 2]]}, False, ""),
    (MATRIX, "", " [ [1, 2] ] ", {"X": [[1, 2]]}, True, ""),
    (MATRIX, PLAIN, '{"data": [1, 2]}', {"X": [[1, 2]]}, False, "data"),
    (MATRIX, "", '{"inputs": [[1, 2], [3, 4]]}', {"X": [[1, 2], [3, 4]]}, True, "inputs"),
    (MATRIX, CSV, "1,2\n3,4", {"X": [[1, 2], [3, 4]]}, True, ""),
    (NAMED, "", '{"b": 2, "a": 1}', {"X": [[1, 2]]}, False, ""),
    (NAMED, "", '[{"b": 2, "a": 1}]', {"X": [[1, 2]]}, True, ""),
    (NAMED, CSV, "b,a\n2,1", {"X": [[1, 2]]}, True, ""),
    (IMAGES, "", "[[[1, 2], [3, 4]]]", {"I": [[[[1, 2], [3, 4]]]]}, False, ""),
    (IMAGES, "", "[[[[1, 2], [3, 4]]]]", {"I": [[[[1, 2], [3, 4]]]]}, True, ""),
    (COLUMNS, "", '[1, "x"]', {"d": [[1]], "c": [["x"]]}, False, ""),
    (COLUMNS, "", '[[1, "x"]]', {"d": [[1]], "c": [["x"]]}, True, ""),
    (COLUMNS, FIELDS, "c=x%20y&d=1", {"d": [[1]], "c": [["x y"]]}, False, ""),
    (COLUMNS, FIELDS, '{"d": 1, "c": "="}', {"d": [[1]], "c": [["="]]}, False, ""),
    (TEXT, PLAIN, "a good film", {"t": [["a good film"]]}, False, ""),
    (TEXT, PLAIN, '["no JSON', {"t": [['["no JSON']]}, False, ""),
    (TEXT, "", '["one", "two"]', {"t": [["one"], ["two"]]}, True, ""),
    (TEXT, JSON, '"one"', {"t": [["one"]]}, False, ""),
    (NUMBER, "", "5", {"n": [5]}, False, ""),
    (NUMBER, "", "[5, 6]", {"n": [5, 6]}, True, ""),
    (DATA, "", '{"data": 5}', {"data": [[5]]}, False, ""),
]


@pytest.mark.parametrize(("model", "kind", "body", "arrays", "many", "envelope"), READ)
def test_reads(model: Signature, kind: str, body: str, arrays: dict, many: bool, envelope: str) -> None:
    read = FreeBody().read(body.encode(), kind, model)
    assert {name: array.tolist() for name, array in read.arrays.items()} == arrays
    assert (read.many, read.envelope) == (many, envelope)


REFUSED = [
    (MATRIX, "", ""), (MATRIX, "", "1,2"), (MATRIX, "", "[1, 2],[3, 4]"), (MATRIX, "", '[1, 2], "instances": [[1, 2]]'),
    (MATRIX, "", "[[1, 2], 3]"), (MATRIX, "", "[[[1, 2]]]"), (MATRIX, "", "{}"), (MATRIX, "", '{"data": {}}'),
    (MATRIX, CSV, "1,2\n3"), (MATRIX, CSV, "1,x"), (MATRIX, CSV, ""), (MATRIX, CSV, "1_0,2"), (MATRIX, JSON, "x"),
    (NAMED, "", '{"a": 1}'), (NAMED, "", '{"a": 1, "b": 2, "c": 3}'), (COLUMNS, FIELDS, "d=1&c=x&c=y"),
    (COLUMNS, FIELDS, "d=1"), (COLUMNS, "", '["x", 1]'), (NUMBER, "", "5.5"), (NUMBER, "", '"5"'), (NUMBER, "", "true"),
    (IMAGES, "", "[[1, 2], [3, 4]]"), (IMAGES, "", "[[[1, 2], [3]]]"), (IMAGES, "", "[[[1, 2], [3, 400]]]"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "kind", "body"), REFUSED)
def test_refuses(model: Signature, kind: str, body: str) -> None:
    with pytest.raises(InvalidInput):
        FreeBody().read(body.encode(), kind, model)


@given(st.binary(max_size=60), st.sampled_from(["", PLAIN, CSV, JSON, FIELDS, "multipart/form-data; boundary=b"]))
def test_never_breaks(body: bytes, kind: str) -> None:
    for model in (MATRIX, NAMED, COLUMNS, TEXT, NUMBER):
        try:
            FreeBody().read(body, kind, model)
        except InvalidInput:
            continue


@given(st.lists(st.tuples(st.floats(width=32, allow_nan=False, allow_infinity=False), st.text(max_size=5)), min_size=1))
def test_lists_and_objects_say_the_same(rows: list[tuple[float, str]]) -> None:
    as_lists = FreeBody().read(json.dumps(rows).encode(), "", COLUMNS)
    as_objects = FreeBody().read(json.dumps([{"c": c, "d": d} for d, c in rows]).encode(), "", COLUMNS)
    for name, array in as_lists.arrays.items():
        np.testing.assert_array_equal(array, as_objects.arrays[name])
