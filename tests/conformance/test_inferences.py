"""Answers of all three forms are read as one; what is no answer says why."""

from __future__ import annotations

import json

import numpy as np
import pytest

from penstock.conformance.inferences import difference, read_inference
from penstock.conformance.judge import mismatch
from penstock.conformance.model import read_model
from penstock.conformance.tensorforms import Misformed, binary_tensor, json_tensor, raw_bytes, typed_tensor
from penstock.conformance.transport import Heard
from penstock.tensors import DTYPES, TensorSpec

ARRAYS = {
    "BOOL": [[True, False]], "INT8": [[-1, 7]], "UINT64": [[0, 2**63]], "INT64": [[-(2**62), 3]], "FP32": [[0.1, -2.5]],
    "FP64": [[1e-3, 1e300]], "BYTES": [["", "é–漢字"]], "FP16": [[0.5, 2.0]],
}  # fmt: skip


def model_of(datatype: str):
    return read_model("m", {"inputs": [], "outputs": [{"name": "y", "datatype": datatype, "shape": [-1, 2]}]})


def rest(output: dict, raw: bytes = b"") -> Heard:
    head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
    return Heard(200, headers={"inference-header-content-length": str(len(head))} if raw else {}, body=head + raw)


@pytest.mark.parametrize("datatype", ARRAYS)
@pytest.mark.parametrize("form", ["flat", "nested", "binary", "contents", "raw"])
def test_what_is_written_in_any_form_is_read_again(datatype: str, form: str) -> None:
    if datatype == "FP16" and form == "contents":
        pytest.skip("FP16 has no contents")
    spec = TensorSpec(name="y", datatype=datatype, shape=(-1, 2))
    array = np.array(ARRAYS[datatype], DTYPES[datatype])
    if form in ("flat", "nested"):
        heard = rest(json_tensor(spec, array, nested=form == "nested"))
    elif form == "binary":
        heard = rest(binary_tensor(spec, array), raw_bytes(array))
    elif form == "contents":
        heard = Heard(code="OK", message={"outputs": [typed_tensor(spec, array)]})
    else:
        raw = __import__("base64").b64encode(raw_bytes(array)).decode()
        bare = {"name": "y", "datatype": datatype, "shape": ["1", "2"]}
        heard = Heard(code="OK", message={"outputs": [bare], "raw_output_contents": [raw]})
    found = read_inference(heard, model_of(datatype))
    assert found.outputs["y"].dtype == array.dtype
    assert not difference(found.outputs, {"y": array})
    assert bool(found.binary) == (form in ("binary", "raw"))


GOOD = {"name": "y", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "z"}, "an output z, which the metadata do not have"),
        ({"datatype": "INT32"}, "is INT32, and INT64 by the metadata"),
        ({"datatype": "LONG"}, "which the protocol does not have"),
        ({"shape": [2, 1]}, r"the shape \[2, 1\], and \[-1, 2\] by the metadata"),
        ({"shape": [-1, 2]}, "something else than whole numbers"),
        ({"data": [1]}, "has 1 elements and the shape"),
        ({"data": [[1], [2]]}, "not nested as its shape"),
        ({"data": [1, 2.5]}, "no INT64"),
        ({"data": [1, None]}, "no INT64"),
        ({"data": None}, "no list as its data"),
        ({"shape": None}, "lacks name, datatype or shape"),
    ],
)
def test_what_is_no_answer_says_why(change: dict, why: str) -> None:
    assert read_inference(rest(GOOD), model_of("INT64")).outputs
    with pytest.raises(Misformed, match=why):
        read_inference(rest({**GOOD, **change}), model_of("INT64"))


def test_bytes_that_are_left_or_lacking_are_found() -> None:
    spec, array = TensorSpec(name="y", datatype="INT64", shape=(-1, 2)), np.array([[1, 2]])
    for raw in (raw_bytes(array)[:-1], raw_bytes(array) + b"\0"):
        with pytest.raises(Misformed):
            read_inference(rest(binary_tensor(spec, array), raw), model_of("INT64"))


def test_differences_say_where() -> None:
    one = {"y": np.array([[1.0, 2.0]])}
    assert not difference(one, {"y": np.array([[1.0 + 1e-7, 2.0]])})
    assert difference(one, {"y": np.array([[1.0, 2.1]])}) == "output y differs at [0, 1]"
    assert "shape" in difference(one, {"y": np.array([1.0, 2.0])})
    assert not difference({"y": np.array([np.nan])}, {"y": np.array([np.nan])})


@pytest.mark.parametrize(
    ("pattern", "value", "wrong"),
    [
        ("string", "a", ""), ("string", 1, "the body is no string"), ("integer", True, "the body is no integer"),
        ("integer|string", "3", ""), ("=m", "m", ""), ("=m", "n", "the body is not 'm'"),
        (True, 1, "the body is not True"),
        ({"a": "string", "b?": "number"}, {"a": "x"}, ""), ({"a": "string"}, {}, "a is missing"),
        ({"b?": "number"}, {"b": None}, ""), ({"b?": "number"}, {"b": "1"}, "b is no number"),
        ([{"a": "integer"}], [{"a": 1}, {"a": "1"}], "[1].a is no integer"), (["string"], "a", "the body is no array"),
        ({"a": "any"}, [], "the body is no object"), ({"a": ["integer"]}, {"a": [1, 2.5]}, "a[1] is no integer"),
    ],
)  # fmt: skip
def test_patterns(pattern: object, value: object, wrong: str) -> None:
    assert mismatch(pattern, value) == wrong
