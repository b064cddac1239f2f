"""A graph over images becomes a package: only a matrix has columns that can be probed one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
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
