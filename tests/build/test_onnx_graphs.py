"""Graphs that are no matrix of columns become packages: over images, from text to text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.build.assemble import build
from penstock.build.parity import check_graph
from penstock.build.probes import Rows
from penstock.build.request import BuildRequest
from penstock.errors import InvalidInput
from penstock.runtime.engine import open_engine, prove


def test_a_graph_over_images_is_packaged_and_proven(tmp_path: Path) -> None:
    weights = np.random.default_rng(2).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weights"], ["maps"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
        helper.make_node("Flatten", ["means"], ["output"]),
    ]
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 4])]
    graph = helper.make_graph(nodes, "images", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "net.onnx")

    package = build(tmp_path / "net.onnx", BuildRequest(name="net", out=tmp_path / "out", lock=False))

    (spec,) = package.manifest.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("input", "FP32", (-1, 3, 8, 8))
    engine = open_engine(package)
    prove(engine, package)
    assert engine.run({"input": np.zeros((2, 3, 8, 8), np.float32)})["prediction"].tolist() == [[0.0] * 4] * 2
    engine.close()


def test_a_graph_that_answers_text_is_packaged_and_proven(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Equal", ["word", "yes"], ["same"]),
        helper.make_node("Where", ["same", "good", "bad"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["label"]),
        helper.make_node("Cast", ["same"], ["one"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["unit", "one"], ["zero"]),
        helper.make_node("Concat", ["zero", "one"], ["probabilities"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("word", TensorProto.STRING, ["N", 1])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
    ]
    words = {"yes": "yes", "good": "in", "bad": "out"}
    constants = [numpy_helper.from_array(np.array([word], object), name) for name, word in words.items()]
    constants += [
        numpy_helper.from_array(np.array([-1]), "flat"),
        numpy_helper.from_array(np.array([1], np.float32), "unit"),
    ]
    graph = helper.make_graph(nodes, "words", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 19)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "words.onnx")
    pd.DataFrame({"word": ["yes", "no", "maybe"] * 5}).to_csv(tmp_path / "words.csv", index=False)

    request = BuildRequest(name="words", out=tmp_path / "out", data=tmp_path / "words.csv", lock=False)
    package = build(tmp_path / "words.onnx", request)

    (spec,) = package.manifest.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("word", "BYTES", (-1, 1))
    engine = open_engine(package)
    prove(engine, package)
    asked = np.array([["yes"], ["no"]], object)
    assert engine.run({"word": asked})["label"].tolist() == ["in", "out"]
    engine.close()


def test_a_graph_that_refuses_a_row_that_the_original_answers_is_not_used(tmp_path: Path) -> None:
    node = helper.make_node("Gather", ["table", "place"], ["prediction"])
    inputs = [helper.make_tensor_value_info("place", TensorProto.INT64, ["N"])]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["N"])]
    table = numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")
    graph = helper.make_graph([node], "places", inputs, outputs, [table])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    rows = Rows(
        arrays={"place": np.array([0, 1, 7, 2])},
        expected={"prediction": np.array([0, 1, 7, 2], np.float32)},
        origins=tuple(f"row {at}" for at in range(4)),
    )
    found = check_graph(model.SerializeToString(), rows)
    assert not found.passed
    assert found.reason.startswith("the graph refuses row 2: ")


CHANCE = [helper.make_node("RandomUniformLike", ["x"], ["chance"]), helper.make_node("Add", ["x", "chance"], ["y"])]
BATCH = [
    helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
    helper.make_node("Sub", ["x", "mean"], ["y"]),
]


@pytest.mark.parametrize("nodes", [CHANCE, BATCH])
def test_a_graph_that_does_not_answer_a_row_by_that_row_is_refused(tmp_path: Path, nodes: list[onnx.NodeProto]) -> None:
    """Chance, and a look at the whole batch: nothing stands behind a graph that could be served instead."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])]
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opset, ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InvalidInput) as refused:
        build(tmp_path / "net.onnx", BuildRequest(name="net", out=tmp_path / "out", lock=False))
    assert refused.value.code == "build.unsteady"
    assert refused.value.message.startswith("the graph does not answer as it answered before")
    assert "prediction differs on row 0" in refused.value.message
    assert "no randomness" in refused.value.hint
