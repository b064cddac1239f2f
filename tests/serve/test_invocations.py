"""Bodies of `/invocations`: images and odd shapes, what hostile files claim, and which type is answered in."""

from __future__ import annotations

import io
import json
import struct
from contextlib import suppress

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from penstock.errors import InvalidInput, PenstockError
from penstock.serve import invocations
from penstock.serve.csvtable import read_csv, write_csv
from penstock.serve.mediatypes import CSV, JSON, LINES, NPY, PARQUET, MediaType, accepted, media_type
from penstock.serve.npyarray import read_npy, write_npy
from penstock.serve.protocol import Prediction
from penstock.serve.rowvalues import MOST_ROWS
from penstock.tensors import Signature, TensorSpec, conform

MATRIX = Signature(inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 2)),), outputs=())
NAMED = Signature(
    inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 2), columns=("a", "b"), nullable=True),), outputs=()
)
IMAGES = Signature(inputs=(TensorSpec(name="image", datatype="FP32", shape=(-1, 2, 3)),), outputs=())
FLAT = Signature(inputs=(TensorSpec(name="i", datatype="INT64", shape=(-1,)),), outputs=())
MIXED = Signature(
    inputs=(
        TensorSpec(name="n", datatype="INT32", shape=(-1, 1)),
        TensorSpec(name="ok", datatype="BOOL", shape=(-1, 1)),
        TensorSpec(name="t", datatype="BYTES", shape=(-1, 1), nullable=True),
    ),
    outputs=(),
)
PIXELS = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def columns(**named: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(named), file)
    return file.getvalue()


def read(body: bytes, kind: str, signature: Signature) -> dict[str, np.ndarray]:
    """As the request path has it: read, then conformed."""
    return conform(signature, invocations.read(body, MediaType(kind, {}), signature).arrays)


def test_images_come_in_every_type() -> None:
    flat = PIXELS.reshape(2, 6).tolist()
    bodies = {
        JSON: [
            json.dumps({"instances": PIXELS.tolist()}).encode(),
            json.dumps({"inputs": {"image": PIXELS.tolist()}}).encode(),
            json.dumps({"dataframe_split": {"data": flat}}).encode(),
        ],
        CSV: [b"0,1,2,3,4,5\n6,7,8,9,10,11\n", b"a,b,c,d,e,f\n0,1,2,3,4,5\n6,7,8,9,10,11\n"],
        LINES: [b"\n".join(json.dumps(row).encode() for row in PIXELS.tolist())],
        NPY: [saved(PIXELS), saved(PIXELS.astype(np.float64))],
        PARQUET: [columns(**{f"p{at}": [row[at] for row in flat] for at in range(6)})],
    }
    for kind, several in bodies.items():
        for body in several:
            assert read(body, kind, IMAGES)["image"].tolist() == PIXELS.tolist(), kind


def test_columns_are_found_by_name_and_others_left_out() -> None:
    want = [[1.0, 2.0], [3.0, 4.0]]
    assert read(b"b,x,a\n2,9,1\n4,9,3\n", CSV, NAMED)["X"].tolist() == want
    assert read(columns(b=[2, 4], x=["u", "v"], a=[1.0, 3.0]), PARQUET, NAMED)["X"].tolist() == want
    split = {"columns": ["b", "x", "a"], "data": [[2, "u", 1], [4, "v", 3]]}
    assert read(json.dumps({"dataframe_split": split}).encode(), JSON, NAMED)["X"].tolist() == want
    for body, kind in ((b"a,x\n1,2\n", CSV), (columns(a=[1.0]), PARQUET)):
        with pytest.raises(InvalidInput) as error:
            read(body, kind, NAMED)
        assert error.value.where.endswith(".b")


def test_whole_numbers_truths_and_texts() -> None:
    got = read(b"1,true,UA\n-2,False,\n", CSV, MIXED)
    assert [one.ravel().tolist() for one in got.values()] == [[1, -2], [True, False], ["UA", ""]]
    got = read(columns(t=["UA", None], ok=[True, False], n=[1, -2]), PARQUET, MIXED)
    assert [one.ravel().tolist() for one in got.values()] == [[1, -2], [True, False], ["UA", ""]]
    assert read(b"1\n2\n", CSV, FLAT)["i"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("body", "kind", "signature"),
    [
        (b"1.5,true,x\n", CSV, MIXED),
        (b"1,yes,x\n", CSV, MIXED),
        (b"99999999999,true,x\n", CSV, MIXED),
        (b"1e400,1\n", CSV, MATRIX),
        (b"nan,1\n", CSV, MATRIX),
        (b"a,a,b\n1,2,3\n", CSV, NAMED),
        (columns(n=[1.5], ok=[True], t=["x"]), PARQUET, MIXED),
        (columns(n=[1], ok=[1], t=["x"]), PARQUET, MIXED),
        (columns(n=[1], ok=[True], t=[b"x"]), PARQUET, MIXED),
        (columns(n=[None, 1], ok=[True, None], t=["x", "y"]), PARQUET, MIXED),
        (columns(n=[1 << 40], ok=[True], t=["x"]), PARQUET, MIXED),
        (columns(X=[[1.0, 2.0]]), PARQUET, MATRIX),
        (columns(a=["far"], b=[1.0]), PARQUET, NAMED),
        (columns(a=[1.0, float("inf")], b=[1.0, 1.0]), PARQUET, NAMED),
        (saved(np.array([[1 + 1j, 2]])), NPY, MATRIX),
        (saved(np.array(["2020-01-01"], "M8[D]")), NPY, FLAT),
        (saved(np.array([(1, 2)], "i4,i4")), NPY, MATRIX),
        (saved(np.array(1.0)), NPY, MATRIX),
        (saved(np.zeros((0, 2))), NPY, MATRIX),
        (saved(np.array([1.5])), NPY, FLAT),
        (b"\x93NUMPY\x03\x00", NPY, MATRIX),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 4) + b"[][]", NPY, MATRIX),
        (b"", PARQUET, MATRIX),
        (b"", CSV, MATRIX),
        (b"", NPY, MATRIX),
    ],
)
def test_what_does_not_fit_is_refused(body: bytes, kind: str, signature: Signature) -> None:
    with pytest.raises(InvalidInput):
        read(body, kind, signature)


def test_a_small_file_of_very_many_rows_is_not_unpacked() -> None:
    ones = pyarrow.repeat(pyarrow.scalar(1, pyarrow.int8()), 20_000_000)
    bomb = columns(a=ones, b=ones)
    assert len(bomb) < 1 << 20
    with pytest.raises(InvalidInput) as error:
        read(bomb, PARQUET, NAMED)
    assert error.value.code == "serve.too_large"


def test_a_text_that_is_in_the_file_once_is_not_written_out_for_every_row() -> None:
    rows = 1000
    once = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array(np.zeros(rows, np.int32)), pyarrow.array(["x" * 1_000_000])
    )
    bomb = columns(n=range(rows), ok=[True] * rows, t=once)
    assert len(bomb) < 1 << 20
    with pytest.raises(InvalidInput) as error:
        read(bomb, PARQUET, MIXED)
    assert error.value.code == "serve.too_large"
    file = io.BytesIO()
    prefixed = {"use_dictionary": False, "column_encoding": {"t": "DELTA_BYTE_ARRAY"}}
    parquet.write_table(pyarrow.table({"n": [1, 2], "ok": [True, True], "t": ["aa", "ab"]}), file, **prefixed)
    with pytest.raises(InvalidInput):
        read(file.getvalue(), PARQUET, MIXED)


def test_a_header_that_claims_texts_of_no_length_makes_no_rows() -> None:
    file = io.BytesIO()
    claimed = {"descr": "<U0", "fortran_order": False, "shape": (50_000_000, 1)}
    np.lib.format.write_array_header_1_0(file, claimed)
    one = Signature(inputs=(TensorSpec(name="t", datatype="BYTES", shape=(-1, 1)),), outputs=())
    with pytest.raises(InvalidInput):
        read_npy(file.getvalue(), one)


@pytest.mark.parametrize(
    "header", [b"{'descr': '<i8', 'shape': (4,", b"{'descr': '<i8\0", b"(" * 500, b"{'descr': '<i8', 'shape': [}"]
)
def test_a_header_that_is_no_python_is_refused(header: bytes) -> None:
    file = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(InvalidInput):
        read_npy(file, Signature(inputs=(TensorSpec(name="t", datatype="INT64", shape=(-1, 4)),), outputs=()))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("point", [0x110000, 0xD800, 0xFFFFFFFF])
def test_texts_that_are_no_characters_are_refused(point: int, order: str) -> None:
    file = io.BytesIO()
    np.save(file, np.array([["é😀"]], dtype=f"{order}U2"))
    one = Signature(inputs=(TensorSpec(name="t", datatype="BYTES", shape=(-1, 1)),), outputs=())
    assert read_npy(file.getvalue(), one)["t"].tolist() == [["é😀"]]
    spoiled = file.getvalue()[:-4] + np.array(point, f"{order}u4").tobytes()
    with pytest.raises(InvalidInput):
        read_npy(spoiled, one)


@pytest.mark.parametrize("form", ["instances", "dataframe_split"])
def test_json_rows_that_are_looked_at_one_by_one_are_not_without_end(form: str) -> None:
    rows = "[1]," * MOST_ROWS + "[1.0]"
    body = f'{{"instances": [{rows}]}}' if form == "instances" else f'{{"dataframe_split": {{"data": [{rows}]}}}}'
    with pytest.raises(InvalidInput) as error:
        read(body.encode(), JSON, FLAT)
    assert error.value.message == "the request has too many rows"


@pytest.mark.parametrize("kind", [CSV, LINES])
def test_rows_of_two_bytes_are_not_read_one_by_one_without_end(kind: str) -> None:
    assert len(read(b"1\n" * 1000, kind, FLAT)["i"]) == 1000
    with pytest.raises(InvalidInput) as error:
        read(b"1\n" * (MOST_ROWS + 1), kind, FLAT)
    assert error.value.message == "the request has too many rows"


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.just(2)), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_numbers_survive_csv_and_npy(rows: np.ndarray) -> None:
    assert read_csv(write_csv({"X": rows}), MATRIX, header=False)["X"].tolist() == rows.tolist()
    assert read_npy(write_npy({"X": rows}), MATRIX)["X"].tolist() == rows.tolist()


@given(st.binary(max_size=200), st.sampled_from([JSON, CSV, LINES, NPY, PARQUET]))
def test_no_bytes_do_worse_than_be_refused(body: bytes, kind: str) -> None:
    for start in (b"", b"\x93NUMPY\x01\x00", b"PAR1", b'{"instances":'):
        with suppress(InvalidInput):
            read(start + body, kind, MIXED)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; charset=utf-8", CSV),
        ("image/png, text/*;q=0.2", CSV),
        ("text/csv;q=0.1, application/jsonlines;q=0.9", LINES),
        ("application/*", JSON),
        ("application/json;q=0, application/x-npy", NPY),
        ("application/x-jsonlines", LINES),
    ],
)
def test_the_type_that_is_liked_best_is_answered(value: str, wanted: str) -> None:
    assert accepted(value.encode(), invocations.OFFERED) == wanted


@pytest.mark.parametrize("value", ["image/png", "text/csv;q=0", "application/json;q=none", ","])
def test_nothing_that_is_accepted_is_406(value: str) -> None:
    if value == ",":
        assert accepted(value.encode(), invocations.OFFERED) == JSON
        return
    with pytest.raises(PenstockError) as error:
        accepted(value.encode(), invocations.OFFERED)
    assert error.value.code == "serve.not_acceptable"


def test_what_is_no_number_leaves_as_each_type_says_it() -> None:
    outputs = {"p": np.array([1.5, np.nan]), "t": np.array(["a,b", 'c"'], object)}
    said = {}
    for kind in (JSON, CSV, LINES):
        request = invocations.read(b"1,2\n", media_type(b"text/csv"), MATRIX)
        request.arrays.clear()
        form = invocations.AcceptForm(kind)
        reply = invocations.answer(type(request)(request.arrays, form=form), Prediction("id", "m", "1", outputs))
        said[kind] = reply.body.decode()
        assert reply.content_type == kind.encode()
    assert json.loads(said[JSON])["predictions"] == [{"p": 1.5, "t": "a,b"}, {"p": None, "t": 'c"'}]
    assert said[CSV] == '1.5,"a,b"\n,"c"""\n'
    assert [json.loads(line)["p"] for line in said[LINES].splitlines()] == [1.5, None]
