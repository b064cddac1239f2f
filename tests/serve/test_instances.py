"""The typed form of V1's rows takes nothing that the general one would not take, and means the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidInput, PenstockError
from penstock.serve.bodyforms import read_body
from penstock.serve.instances import Instances
from penstock.tensors import Arrays, Signature, TensorSpec

OUTPUTS = (TensorSpec(name="y", datatype="FP32", shape=(-1,)),)
COLUMNS = tuple(f"c{index}" for index in range(3))


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs=inputs, outputs=OUTPUTS)


def column(name: str, datatype: str) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=(-1, 1))


SIGNATURES = {
    "mixed": signature(column("a b", "FP64"), column("é", "BYTES"), column("n", "INT8"), column("class", "BOOL")),
    "one number": signature(column("x", "FP32")),
    "one text": signature(column("x", "BYTES")),
    "matrix": signature(TensorSpec(name="X", datatype="FP32", shape=(-1, 3))),
    "named matrix": signature(TensorSpec(name="X", datatype="FP64", shape=(-1, 3), columns=COLUMNS)),
    "free matrix": signature(TensorSpec(name="X", datatype="INT64", shape=(-1, -1))),
    "vector": signature(TensorSpec(name="X", datatype="FP64", shape=(-1,))),
    "images": signature(TensorSpec(name="X", datatype="FP32", shape=(-1, 2, 2, 1))),
    "two matrices": signature(
        TensorSpec(name="a", datatype="FP32", shape=(-1, 2)), TensorSpec(name="b", datatype="BYTES", shape=(-1, 1, 2))
    ),
    "text matrix": signature(TensorSpec(name="X", datatype="BYTES", shape=(-1, 3))),
}
ANY = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.none(),
    st.text(max_size=2),
)
FITTING = {
    "FP32": st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-9, 9) | st.none(),
    "FP64": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60) | st.none(),
    "INT8": st.integers(-140, 140),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "BYTES": st.text(max_size=2) | st.none(),
    "BOOL": st.booleans(),
}


IMAGES = st.lists(
    st.lists(st.lists(FITTING["FP32"] | ANY, min_size=1, max_size=1) | ANY, min_size=2, max_size=2),
    min_size=1,
    max_size=2,
)


def names_of(signature: Signature) -> list[str]:
    first = signature.inputs[0]
    if len(signature.inputs) > 1 or first.shape == (-1, 1):
        return list(signature.input_names())
    return list(first.columns) or [str(index) for index in range(3 if len(first.shape) == 2 else 1)]


@st.composite
def bodies(draw: st.DrawFn, signature: Signature) -> bytes:
    if len(signature.inputs[0].shape) > 2:
        return json.dumps({"instances": draw(st.lists(IMAGES, max_size=2))}).encode()
    names = names_of(signature)
    kinds = [spec.datatype for spec in signature.inputs]
    kinds = kinds if len(kinds) == len(names) else kinds * len(names)
    form = draw(st.sampled_from(["list", "object", "value", "any"]))
    rows: list[object] = []
    for _ in range(draw(st.integers(0, 4))):
        values = [draw(ANY if draw(st.integers(0, 30)) == 0 else FITTING[kind]) for kind in kinds]
        if draw(st.integers(0, 30)) == 0:
            values = values[:-1] if draw(st.booleans()) else [*values, 1]
        one = draw(st.sampled_from(["list", "object", "value"])) if form == "any" else form
        if one == "object":
            row = dict(zip(names, values, strict=False))
            if draw(st.integers(0, 6)) == 0:
                row["other"] = 1
            rows.append(row)
        else:
            rows.append(values if one == "list" or not values else values[0])
    key = draw(st.sampled_from(["instances"] * 9 + ["inputs", "rows"]))
    name = draw(st.sampled_from(["serving_default"] * 9 + ["", "x"]))
    return json.dumps({key: rows, "signature_name": name, "other": 1}).encode()


def general(body: bytes, signature: Signature) -> Arrays:
    return read_body(body, signature)[0]


def judged(decode: object, body: bytes, signature: Signature) -> tuple[object, ...]:
    try:
        arrays: Arrays = decode(body, signature)  # type: ignore[operator]
    except PenstockError as error:
        return ("refused", error.code, error.where, str(error))
    return ("taken", repr({k: (a.dtype.str, a.shape, a.tolist(), a.flags.c_contiguous) for k, a in arrays.items()}))


@given(st.data(), st.sampled_from(sorted(SIGNATURES)))
def test_typed_and_general_agree(data: st.DataObject, name: str) -> None:
    signature = SIGNATURES[name]
    body = data.draw(bodies(signature))
    instances = Instances()
    expected = judged(general, body, signature)
    assert judged(instances.decode, body, signature) == expected
    assert judged(instances.decode, body, signature) == expected


@pytest.mark.parametrize(
    ("name", "rows", "where"),
    [
        ("one number", [{"x": 1, "y": 2}], "instances[0][1]"),
        ("one number", [{"y": 2}], "instances[0][0]"),
        ("mixed", [{"a b": 1, "n": 2, "class": True}], "instances[0].é"),
        ("mixed", [[1, "a", 2.5, True]], "instances[0].n"),
        ("mixed", [[1, "a", 2, 1]], "instances[0].class"),
        ("mixed", [[1, "a", 200, True]], "instances.n"),
        ("mixed", [[1, "a", 2, True], [1, "a", 2]], "instances[1]"),
        ("matrix", [[1, 2, 3], [1, 2]], "instances[1]"),
        ("matrix", [[1, 2, 3], [1, "2", 3]], "instances[1][1]"),
        ("named matrix", [{"c0": 1, "c1": 2, "c3": 3}], "instances[0][2]"),
        ("images", [[[[1], [2]], [[3], ["4"]]]], "instances[0][1][1][0]"),
        ("images", [[[[1], [2]], [[3]]]], "instances"),
        ("images", [[1, 2]], "instances[0][0]"),
        ("images", [], "instances"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(name: str, rows: list[object], where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Instances().decode(json.dumps({"instances": rows}).encode(), SIGNATURES[name])
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("mixed", [[1, "a", 2, True], [None, None, -3, False]]),
        ("mixed", [{"a b": 1, "é": "a", "n": 2, "class": True}]),
        ("one number", [1, 2.5]),
        ("one number", [[1], [2]]),
        ("matrix", [[1, 2, 3]]),
        ("named matrix", [{"c0": 1, "c1": 2, "c2": None}]),
        ("vector", [1, 2]),
        ("images", [[[[1], [2]], [[3], [4.5]]]] * 2),
        ("text matrix", [["a", "b", None]]),
    ],
)
def test_the_typed_form_is_what_answers_usual_rows(name: str, rows: list[object]) -> None:
    """Else the agreement above would compare the general form with itself."""
    body = json.dumps({"instances": rows}).encode()
    typed = Instances().typed(body, SIGNATURES[name])
    assert typed is not None
    assert repr(typed) == repr(general(body, SIGNATURES[name]))


def test_inputs_stand_for_instances() -> None:
    assert general(b'{"inputs":[1]}', SIGNATURES["vector"])["X"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "rows", "wanted"),
    [
        ("vector", [{"X": 1}, {"X": 2.5}], {"X": [1.0, 2.5]}),
        ("matrix", [{"X": [1, 2, 3]}], {"X": [[1.0, 2.0, 3.0]]}),
        ("one number", [{"x": [1]}, {"x": [2]}], {"x": [[1.0], [2.0]]}),
        ("images", [{"X": [[[1], [2]], [[3], [4.5]]]}], {"X": [[[[1.0], [2.0]], [[3.0], [4.5]]]]}),
        (
            "two matrices",
            [{"a": [1, 2], "b": [["x", {"b64": "w7w="}]]}, {"b": [["y", "z"]], "a": [3, 4]}],
            {"a": [[1.0, 2.0], [3.0, 4.0]], "b": [[["x", "ü"]], [["y", "z"]]]},
        ),
    ],
)
def test_a_row_may_name_the_inputs_and_nest_their_values(
    name: str, rows: list[object], wanted: dict[str, object]
) -> None:
    arrays = Instances().decode(json.dumps({"instances": rows}).encode(), SIGNATURES[name])
    assert {key: array.tolist() for key, array in arrays.items()} == wanted


@pytest.mark.parametrize(
    ("name", "rows", "where"),
    [
        ("matrix", [{"X": [1, 2, 3]}, {"X": [1, "2", 3]}], "instances[1].X[1]"),
        ("matrix", [{"X": [1, 2, 3]}, {"X": [1]}], "instances.X"),
        ("two matrices", [{"a": [1, 2], "b": [["x", {"hex": "00"}]]}], "instances.b"),
        ("two matrices", [{"a": [1, 2], "b": [["x", 1]]}], "instances[0].b[0][1]"),
    ],
)
def test_a_nested_value_that_does_not_fit_is_refused_at_its_place(name: str, rows: list[object], where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Instances().decode(json.dumps({"instances": rows}).encode(), SIGNATURES[name])
    assert caught.value.where == where
