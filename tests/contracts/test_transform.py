"""One suite for every declared step of the table: its nodes in a graph answer as its record does, on any rows."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from penstock.adapters import TABLE
from penstock.build.declaration import Declaration, as_plain, parse_transforms
from penstock.build.graphs.fusion import fused
from penstock.build.graphs.surgery import TYPES
from penstock.errors import PenstockError
from penstock.runtime.transformed import Feed, Transforms, decode_transforms, encode_transforms
from penstock.tensors import DTYPES, Array, Arrays, TensorSpec, datatype_of

EXTREMES = [0.0, -0.0, 1.0, -1.5, 120.0, np.nextafter(120.0, 130), 1e-300, 1e15, -1e300, 1.7e308, float("nan")]
TEXTS = ["", "Paris", " paris ", "PARIS", "  a   b ", "n/a", "Rome", "É A", "straße", "x\ty", "日本 東京", "a\u00a0b"]
NUMBERS = st.one_of(
    st.sampled_from(EXTREMES), st.floats(allow_infinity=False, width=64), st.integers(-3, 130).map(float)
)
WORDS = st.one_of(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
COLUMNS = {"age": "FP64", "weight": "FP32", "count": "INT64", "open": "BOOL", "city": "BYTES", "plan": "BYTES"}
VALUES = {
    "FP64": NUMBERS,
    "FP32": st.floats(allow_infinity=False, width=32),
    "INT64": st.one_of(st.integers(0, 5), st.integers(-(2**53), 2**53)),
    "BOOL": st.booleans(),
    "BYTES": WORDS,
}
TAUGHT: Arrays = {
    "age": np.array([20, 31.5, 44, np.nan, 78, 20]),
    "weight": np.array([50, 60.5, np.nan, 71, 82, 93], np.float32),
    "count": np.array([1, 2, 2, 3, 5, 5]),
    "open": np.array([True, False, True, True, False, True]),
    "city": np.array(["Paris", "Rome", "", "Oslo", "Rome", "x y"], object),
    "plan": np.array(["b", "a", "a", "c", "", "b"], object),
}
BEFORE: dict[str, list[dict[str, object]]] = {
    "clean": [
        {"columns": ["age", "count"], "low": 0, "high": 120},
        {"columns": ["weight"], "low": 50.25, "clip": True, "missing": [-1]},
        {"columns": ["city", "plan"], "trim": True, "case": "lower", "missing": ["n/a", "a"]},
        {"columns": ["plan"], "case": "lower"},
    ],
    "impute": [
        {"columns": ["age", "weight", "count"], "with": "median"},
        {"columns": ["age"], "with": "mean"},
        {"columns": ["city", "count", "age"], "with": "most_frequent"},
        {"columns": ["city", "plan"], "with": "none at all"},
        {"columns": ["age"], "with": -1.5},
    ],
    "encode": [
        {"columns": ["city", "plan"], "as": "one-hot"},
        {"columns": ["count", "open"], "as": "one-hot"},
        {"columns": ["city", "count", "age"], "as": "ordinal", "unknown": -7},
        {"columns": ["city"], "as": "one-hot", "categories": {"city": ["Rome", "Paris"]}},
    ],
    "scale": [
        {"columns": ["age", "weight", "count", "open"], "as": "standard"},
        {"columns": ["age", "count"], "as": "min-max"},
        {"columns": ["age", "count"], "as": "robust"},
        {"columns": ["age", "count"], "as": "standard", "known": {"age": [40, 12.5]}},
    ],
}
THREE: tuple[str, ...] = ("a", "b", "c")
AFTER: dict[str, list[object]] = {
    "calibrate": ["sigmoid", {"method": "isotonic"}],
    "threshold": [{"class": "b", "at": 0.3}, {"class": "a", "at": 0}, {"class": "b", "at": 1}],
    "labels": [{"a": "first", "b": "second"}],
    "top": [1, 2],
    "clip": [{"low": 0, "high": 10.5}, {"low": -1}],
    "round": [0, 3],
    "answer": [{"chosen": "label", "chance": {"probability": "b"}}, {"value": "prediction"}],
}
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def specs_of(columns: Arrays, rank: int = 2) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, datatype=datatype_of(array.dtype), shape=(-1, 1) if rank == 2 else (-1, *array.shape[1:]))
        for name, array in columns.items()
    )


def echo(specs: tuple[TensorSpec, ...], names: tuple[str, ...]) -> bytes:
    """A model that answers what it is asked, under other names."""
    nodes = [helper.make_node("Identity", [spec.name], [name]) for spec, name in zip(specs, names, strict=True)]
    ends = [
        [
            helper.make_tensor_value_info(name, TYPES[spec.datatype], [None, *spec.shape[1:]])
            for name, spec in zip(chosen, specs, strict=True)
        ]
        for chosen in ([spec.name for spec in specs], names)
    ]
    graph = helper.make_graph(nodes, "echo", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


def taught(name: str, case: dict[str, object]) -> tuple[Transforms, Arrays]:
    """One step before a model, and its columns as it learned them."""
    ((_, step),) = parse_transforms({"preprocess": [{name: case}]}).before
    learned = step.learn(TAUGHT)
    after = learned.apply(TAUGHT)
    feeds = tuple(Feed(spec=spec, columns=(spec.name,)) for spec in specs_of(after))
    return Transforms(inputs=specs_of(TAUGHT), before=((name, learned),), feeds=feeds), after


def same(left: Array, right: Array) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(np.array_equal(left, right, equal_nan=left.dtype.kind == "f"))


@st.composite
def raw_rows(draw: st.DrawFn) -> Arrays:
    rows = draw(st.integers(1, 6))
    return {
        name: np.array(draw(st.lists(VALUES[kind], min_size=rows, max_size=rows)), dtype=DTYPES[kind]).reshape(-1, 1)
        for name, kind in COLUMNS.items()
    }


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in BEFORE.items() for case in cases])
def test_before_a_model_the_graph_answers_as_the_step_does(name: str, case: dict[str, object]) -> None:
    transforms, after = taught(name, case)
    inner = tuple(feed.spec for feed in transforms.feeds)
    names = tuple(f"out {spec.name}" for spec in inner)
    outputs = tuple(msgspec.structs.replace(spec, name=f"out {spec.name}") for spec in inner)
    graph = fused(echo(inner, names), transforms, transforms.inputs, outputs)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert list(after) == [spec.name for spec in inner]

    @SLOW
    @given(raw_rows())
    def holds(rows: Arrays) -> None:
        wanted = transforms.inward(rows)
        given_ = dict(zip(wanted, session.run(list(names), rows), strict=True))
        for column, values in wanted.items():
            assert same(values, given_[column]), (column, values, given_[column])

    holds()


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in BEFORE.items() for case in cases])
def test_going_back_and_forth_comes_to_the_same(name: str, case: dict[str, object]) -> None:
    ((_, step),) = taught(name, case)[0].before
    there = step.apply(TAUGHT)
    again = step.apply(step.back(there))
    for column in there:
        if there[column].dtype.kind == "f" and name != "encode":
            assert again[column] == pytest.approx(there[column], nan_ok=True)


def chances(classes: int, rows: int, dtype: type = np.float64) -> Array:
    drawn = np.random.default_rng(classes).dirichlet(np.ones(classes), rows)
    drawn[:4] = [np.eye(classes)[0], np.eye(classes)[1], np.full(classes, 1 / classes), np.eye(classes)[-1]]
    return drawn.round(3).astype(dtype)


def asked(classes: tuple[str, ...] | tuple[int, ...], rows: int, dtype: type) -> Arrays:
    """What a model answers: a classifier's answers, or a regression's."""
    if not classes:
        return {"prediction": (np.random.default_rng(1).normal(size=rows) * 10).round(2).astype(dtype)}
    found = chances(len(classes), rows, dtype)
    return {
        "label": np.array(classes, object if isinstance(classes[0], str) else np.int64)[found.argmax(1)],
        "probabilities": found,
    }


CASES_AFTER = [(name, case) for name, cases in AFTER.items() for case in cases]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("classes", [("a", "b"), THREE])
@pytest.mark.parametrize(("name", "case"), CASES_AFTER)
def test_behind_a_model_the_graph_answers_as_the_step_does(
    name: str, case: object, classes: tuple[str, ...], dtype: type
) -> None:
    known = () if name in ("clip", "round") or case == {"value": "prediction"} else classes
    answers = asked(known, 400, dtype)
    truth = np.array(known, object)[np.random.default_rng(3).integers(0, len(known), 400)] if known else None
    ((_, step),) = parse_transforms({"postprocess": [{name: case}]}).after
    learned = step.learn(answers, known, truth)
    wanted = learned.apply(answers)
    inner = specs_of({f"in {one}": array for one, array in answers.items()}, rank=0)
    transforms = Transforms(after=((name, learned),))
    outputs = specs_of(wanted, rank=0)
    graph = fused(echo(inner, tuple(answers)), transforms, inner, outputs)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    rows = {f"in {one}": array for one, array in answers.items()}
    for chosen in (slice(None), slice(3, 4)):
        part = {one: array[chosen] for one, array in rows.items()}
        given_ = dict(zip(wanted, session.run(list(wanted), part), strict=True))
        for output, values in wanted.items():
            if values.dtype.kind == "f":
                assert given_[output] == pytest.approx(values[chosen], rel=1e-7, abs=1e-12)
            else:
                assert same(values[chosen], given_[output]), output
    assert len(learned.classes_after(known)) == len(known)


def test_every_step_of_the_table_has_a_case_and_its_nodes() -> None:
    assert set(TABLE["preprocess"]) == set(BEFORE)
    assert set(TABLE["postprocess"]) == set(AFTER)
    assert set(TABLE["emission"]) == set(BEFORE) | set(AFTER)


@pytest.mark.parametrize("kind", ["preprocess", "postprocess"])
def test_what_was_declared_and_learned_is_read_back(kind: str) -> None:
    table: dict[str, list[object]] = {**BEFORE, **AFTER}
    for name in TABLE[kind]:
        for case in table[name]:
            declared = parse_transforms({kind: [{name: case}]})
            assert parse_transforms(as_plain(declared)) == declared
    transforms = Transforms(before=tuple(taught(name, cases[0])[0].before[0] for name, cases in BEFORE.items()))
    assert decode_transforms(encode_transforms(transforms)) == transforms


def step_of(**declared: object) -> Callable[[], Declaration]:
    return lambda: parse_transforms(declared)


def learning(
    name: str, case: object, *, answers: Arrays | None = None, classes: tuple[str, ...] = ()
) -> Callable[[], object]:
    def learn() -> object:
        known = parse_transforms({"preprocess" if name in BEFORE else "postprocess": [{name: case}]})
        for _, step in known.before:
            return step.learn(TAUGHT)
        return known.after[0][1].learn(answers or {}, classes, np.array(["a"] * 400, object))

    return learn


TWO = asked(("a", "b"), 400, np.float64)
REFUSED: list[tuple[Callable[[], object], str, str]] = [
    (step_of(preproces=[]), "no key preproces", "did you mean preprocess"),
    (step_of(preprocess=[{"scael": {}}]), "no key scael", "did you mean scale"),
    (step_of(preprocess=[{"scale": {"colums": ["age"], "as": "standard"}}]), "no key colums", "did you mean columns"),
    (step_of(preprocess=[{"scale": {"columns": ["age"], "as": "log"}}]), "log", "the keys are"),
    (
        step_of(preprocess=[{"scale": {"columns": ["age"], "as": "standard", "learned": {}}}]),
        "no key learned",
        "keys are",
    ),
    (step_of(postprocess=[{"threshold": {"class": "a", "at": 1.5}}]), "from 0 to 1", "the keys are"),
    (step_of(postprocess=[{"answer": {"x": "label"}}, {"top": 1}]), "behind the answer", "last step"),
    (step_of(postprocess=["top"]), "one name with its settings", "scale"),
    (step_of(version=2, postprocess=[{"top": 1}]), "version 1", "anew"),
    (step_of(), "name no step", "list some"),
    (learning("impute", {"columns": ["agee"], "with": "mean"}), "no column agee to impute", "did you mean age"),
    (learning("scale", {"columns": ["city"], "as": "standard"}), "holds texts", "encode it first"),
    (learning("impute", {"columns": ["city"], "with": "mean"}), "holds texts", "most_frequent"),
    (learning("clean", {"columns": ["age"], "trim": True}), "holds numbers", "of texts"),
    (learning("encode", {"columns": ["city"], "as": "one-hot", "categories": {"city": [1, 2]}}), "of its kind", "once"),
    (learning("calibrate", "sigmoid", answers={"prediction": np.ones(3)}), "no probabilities", "predict_proba"),
    (learning("calibrate", "sigmoid", answers=TWO, classes=("a", "b")), "1 of 2 classes", "some of each class"),
    (
        learning("threshold", {"class": "bb", "at": 0.3}, answers=TWO, classes=("a", "b")),
        "no class bb",
        "did you mean b",
    ),
    (learning("labels", {"z": "x"}, answers=TWO, classes=("a", "b")), "no class z", "the classes are a, b"),
    (learning("labels", {"a": "b"}, answers=TWO, classes=("a", "b")), "one name", "none has or had"),
    (learning("top", 3, answers=TWO, classes=("a", "b")), "2 classes", "1 to 2"),
    (learning("answer", {"x": "labels"}, answers=TWO, classes=("a", "b")), "no output labels", "did you mean label"),
    (learning("round", 2, answers=TWO, classes=("a", "b")), "no prediction to round", "regression"),
]


@pytest.mark.parametrize(("ask", "message", "hint"), REFUSED, ids=[message for _, message, _ in REFUSED])
def test_a_refusal_teaches(ask: Callable[[], object], message: str, hint: str) -> None:
    with pytest.raises(PenstockError) as refused:
        ask()
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert "transforms" in str(refused.value.where)


def test_calibration_comes_true() -> None:
    rng = np.random.default_rng(0)
    true = rng.random(20_000)
    came = np.where(rng.random(20_000) < true, "b", "a").astype(object)
    said = true**3 / (true**3 + (1 - true) ** 3)
    answers = {"label": came, "probabilities": np.stack([1 - said, said], axis=1)}
    for method in ("sigmoid", "isotonic"):
        ((_, step),) = parse_transforms({"postprocess": [{"calibrate": method}]}).after
        given_ = step.learn(answers, ("a", "b"), came).apply(answers)["probabilities"][:, 1]
        assert np.abs(said - true).mean() > 0.1
        assert np.abs(given_ - true).mean() < 0.02, method


def test_letters_of_all_scripts_have_no_operator() -> None:
    transforms, _ = taught("clean", {"columns": ["city"], "case": "casefold"})
    inner = tuple(feed.spec for feed in transforms.feeds)
    with pytest.raises(NotImplementedError, match="no operator"):
        fused(echo(inner, tuple(f"o{spec.name}" for spec in inner)), transforms, transforms.inputs, ())
    assert transforms.before[0][1].apply({**TAUGHT, "city": np.array(["ÉA", "STRASSE"], object)})["city"].tolist() == [
        "éa",
        "strasse",
    ]
