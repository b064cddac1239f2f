"""What Triton's clients see of a model: reshapes both ways, free sizes, labels, answered with Triton's outer sizes."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from dataplane_for_tests import DataPlane, route, until
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.build.triton.reshape import fault_of
from penstock.errors import InvalidInput, NotFound, Untrusted
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove

FLOAT = TensorProto.FLOAT
Value = tuple[str, int, list[object]]


def graph(nodes: list[NodeProto], given: list[Value], made: list[Value]) -> ModelProto:
    body = helper.make_graph(
        nodes,
        "turned",
        [helper.make_tensor_value_info(*one) for one in given],
        [helper.make_tensor_value_info(*one) for one in made],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def sums() -> ModelProto:
    """Of pairs of numbers, and the largest, each without a dimension of its own; an image's lines, as they are."""
    nodes = [
        helper.make_node("ReduceSum", ["pairs", "axes"], ["sums"], keepdims=0),
        helper.make_node("ReduceMax", ["sums", "last"], ["top"], keepdims=0),
    ]
    model = graph(nodes, [("pairs", FLOAT, ["N", 3, 2])], [("sums", FLOAT, ["N", 3]), ("top", FLOAT, ["N"])])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [2])
    model.graph.initializer.extend([axes, helper.make_tensor("last", TensorProto.INT64, [1], [1])])
    return model


def folder(place: Path, model: ModelProto, config: str, **more: str) -> Path:
    (place / "turned" / "1").mkdir(parents=True)
    onnx.save(model, place / "turned" / "1" / "model.onnx")
    (place / "turned" / "config.pbtxt").write_text(f'platform: "onnxruntime_onnx" max_batch_size: 8 {config}')
    for name, text in more.items():
        (place / "turned" / f"{name}.txt").write_text(text)
    return place / "turned"


def packaged(place: Path, model: ModelProto, config: str, **more: str) -> Package:
    made = folder(place, model, config, **more)
    return build(Path(f"triton:{made}"), BuildRequest(name="turned", out=place / "out", lock=False))


SUMS = """
input { name: "pairs" data_type: TYPE_FP32 dims: [ 6 ] reshape { shape: [ 3, 2 ] } }
output [ { name: "top" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } },
  { name: "sums" data_type: TYPE_FP32 dims: [ 1, 3 ] reshape: { shape: 3 } } ]
"""


def test_clients_send_and_receive_triton_s_sizes(tmp_path: Path) -> None:
    package = packaged(tmp_path, sums(), SUMS)
    signature = package.manifest.signature
    assert [(one.name, one.shape) for one in signature.inputs] == [("pairs", (-1, 6))]
    assert [(one.name, one.shape) for one in signature.outputs] == [("top", (-1, 1)), ("sums", (-1, 1, 3))]
    rows = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    plane = DataPlane(tmp_path / "home")
    plane.packages = {package.digest: str(package.folder)}
    plane.write(route("turned", package.digest))
    plane.start(workers=1)
    until(lambda: any(one.snapshot == plane.number for one in plane.statuses()))
    try:
        given = {"name": "pairs", "datatype": "FP32", "shape": [5, 6], "data": rows.ravel().tolist()}
        answered = plane.ask("POST", "/v2/models/turned/infer", json.dumps({"inputs": [given]}))
        wrong = plane.ask("POST", "/v2/models/turned/infer", json.dumps({"inputs": [given | {"shape": [5, 3, 2]}]}))
    finally:
        plane.stop()
    assert answered.status == 200, answered.body
    assert wrong.status == 400  # what the graph takes is not what its clients may send
    outputs = {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answered.json["outputs"]}
    totals = rows.reshape(5, 3, 2).sum(axis=2)
    np.testing.assert_allclose(outputs["sums"], totals[:, None, :], rtol=1e-5)
    np.testing.assert_allclose(outputs["top"], totals.max(axis=1)[:, None], rtol=1e-5)
    assert outputs["sums"].shape == (5, 1, 3)


def test_free_sizes_stay_what_they_are_whatever_stands_between_them(tmp_path: Path) -> None:
    same = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", FLOAT, ["N", 6, "A", 2, "B"])],
        [("y", FLOAT, ["N", 6, "A", 2, "B"])],
    )
    package = packaged(
        tmp_path,
        same,
        """input { name: "x" data_type: TYPE_FP32 dims: [ 2, 3, -1, 2, -1, 1 ] reshape { shape: [ 6, -1, 2, -1 ] } }
        output { name: "y" data_type: TYPE_FP32 dims: [ 3, 2, -1, 1, 2, -1 ] reshape { shape: [ 6, -1, 2, -1 ] } }""",
    )
    engine = open_engine(package)
    prove(engine, package)
    for free in ((1, 1), (4, 5)):
        rows = np.random.default_rng(1).normal(size=(3, 2, 3, free[0], 2, free[1], 1)).astype(np.float32)
        answer = engine.run({"x": rows})["y"]
        assert answer.shape == (3, 3, 2, free[0], 1, 2, free[1])
        np.testing.assert_array_equal(answer.ravel(), rows.ravel())
    engine.close()


def test_a_name_that_a_branch_reads_too_is_reshaped_there(tmp_path: Path) -> None:
    """What is inside of a branch sees the names around it: there the reshaped tensor has to stand too."""

    def branch(name: str, kind: str) -> onnx.GraphProto:
        value = helper.make_tensor_value_info(f"{name}_out", FLOAT, ["N", 3, 2])
        return helper.make_graph([helper.make_node(kind, ["pairs"], [f"{name}_out"])], name, [], [value])

    nodes = [
        helper.make_node("ReduceSum", ["pairs"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "nothing"], ["up"]),
        helper.make_node("If", ["up"], ["chosen"], then_branch=branch("a", "Neg"), else_branch=branch("b", "Neg")),
    ]
    model = graph(nodes, [("pairs", FLOAT, ["N", 3, 2])], [("chosen", FLOAT, ["N", 3, 2])])
    model.graph.initializer.append(helper.make_tensor("nothing", FLOAT, [], [0.0]))
    package = packaged(
        tmp_path,
        model,
        """input { name: "pairs" data_type: TYPE_FP32 dims: 6 reshape { shape: [ 3, 2 ] } }
        output { name: "chosen" data_type: TYPE_FP32 dims: 6 reshape { shape: [ 3, 2 ] } }""",
    )
    engine = open_engine(package)
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(engine.run({"pairs": rows})["chosen"], -rows)
    engine.close()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (SUMS.replace("shape: [ 3, 2 ]", "shape: [ 2, 3 ]"), r"pairs has the sizes \[-1, 2, 3\] there"),
        (SUMS.replace("reshape { shape: [ 3, 2 ] }", ""), r"pairs has the sizes \[-1, 6\] there"),
        (SUMS.replace("dims: [ 1 ] reshape { shape: [ ] }", "dims: [ 1 ]"), r"top has the sizes \[-1, 1\] there"),
    ],
)
def test_a_reshape_to_what_the_graph_does_not_have_is_refused(tmp_path: Path, config: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        packaged(tmp_path, sums(), config)


def test_labels_of_a_file_are_the_classes_and_are_answered(tmp_path: Path) -> None:
    config = SUMS.replace("dims: [ 1, 3 ] reshape: { shape: 3 }", 'dims: 3 label_filename: "labels.txt"')
    package = packaged(tmp_path, sums(), config, labels="low\nmiddle\nhigh\n")
    manifest = package.manifest
    assert (manifest.classes, manifest.task) == (("low", "middle", "high"), "classification")
    assert [(one.name, one.datatype) for one in manifest.signature.outputs] == [
        ("top", "FP32"),
        ("sums", "FP32"),
        ("label", "BYTES"),
    ]
    engine = open_engine(package)
    prove(engine, package)
    rows = np.eye(6, dtype=np.float32)[[0, 2, 5]]
    assert engine.run({"pairs": rows})["label"].tolist() == ["low", "middle", "high"]
    engine.close()


def test_labels_that_stand_there_twice_are_no_classes(tmp_path: Path) -> None:
    config = SUMS.replace("dims: [ 1, 3 ] reshape: { shape: 3 }", 'dims: 3 label_filename: "labels.txt"')
    manifest = packaged(tmp_path, sums(), config, labels="crane\ncrane\nheron\n").manifest
    assert (manifest.classes, [one.name for one in manifest.signature.outputs]) == ((), ["top", "sums"])


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        ("low\nhigh\n", InvalidInput, "has 2 lines, and it has 3 numbers"),
        (None, NotFound, "there is no labels.txt"),
        ("link", Untrusted, "link"),
    ],
)
def test_labels_that_are_not_as_many_or_not_there_are_refused(
    tmp_path: Path, labels: str | None, kind: type[Exception], words: str
) -> None:
    config = SUMS.replace("dims: [ 1, 3 ] reshape: { shape: 3 }", 'dims: 3 label_filename: "labels.txt"')
    made = folder(tmp_path, sums(), config)
    if labels == "link":
        (made / "labels.txt").symlink_to("/etc/hostname")
    elif labels is not None:
        (made / "labels.txt").write_text(labels)
    with pytest.raises(kind, match=words):
        build(Path(f"triton:{made}"), BuildRequest(name="turned", out=tmp_path / "out", lock=False))


def test_which_reshapes_can_be_is_what_numpy_can_do_with_the_free_sizes_kept() -> None:
    """Held against the strides of real arrays, over every pair of small shapes: the free sizes stay what they are."""
    sizes = [(), (1,), (2,), (4,), (-1,), *permutations((-1, 2)), *permutations((-1, 4)), (2, 2), (1, -1), (-1, 1),
             (2, -1, 2), (-1, -1), (2, -1, -1), (-1, 2, -1), (-1, -1, 2), (1, -1, 2, -1)]  # fmt: skip
    for dims in sizes:
        for inner in sizes:
            if not dims:
                continue
            free = dims.count(-1)
            can = free == inner.count(-1)
            for tried in ((3, 5), (5, 3)) if can else ():
                there = [iter(tried), iter(tried)]
                a, b = (
                    [next(it) if one == -1 else one for one in part]
                    for it, part in zip(there, (dims, inner), strict=True)
                )
                # What numbers lie behind each free size: equal only where the parts between them are.
                strides = [np.cumprod([1, *reversed(one)])[: len(one)][::-1] for one in (a, b)]
                behind = [
                    [int(stride) for stride, said in zip(strides[at], part, strict=True) if said == -1]
                    for at, part in enumerate((dims, inner))
                ]
                can = can and int(np.prod(a)) == int(np.prod(b)) and behind[0] == behind[1]
            assert (fault_of(dims, inner, batched=True) == "") == can, (dims, inner)
