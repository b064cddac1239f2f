"""A residual network over one image, 3 x 224 x 224 to 1000, with random weights of a fixed seed, as a graph."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))
"""Channels out, and stride, of each residual block."""


class _Graph:
    """Nodes and weights so far."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._random = np.random.default_rng(3)

    def add(self, kind: str, inputs: list[str]) -> str:
        """One node; returns its output's name."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name]))
        return name

    def weight(self, *shape: int, spread: float) -> str:
        """A constant of normal numbers."""
        name = f"weight_{len(self.weights)}"
        values = (self._random.standard_normal(shape) * spread).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolve(self, x: str, channels: tuple[int, int], *, kernel: int, stride: int) -> str:
        """A convolution that keeps the size but for its stride."""
        before, after = channels
        weight = self.weight(after, before, kernel, kernel, spread=float(np.sqrt(2 / (before * kernel * kernel))))
        name = self.add("Conv", [x, weight])
        shape = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": [kernel // 2] * 4}
        self.nodes[-1].attribute.extend(helper.make_attribute(key, value) for key, value in shape.items())
        return name

    def block(self, x: str, channels: tuple[int, int], stride: int) -> str:
        """Two convolutions and a way around them."""
        before, after = channels
        inner = self.add("Relu", [self.convolve(x, channels, kernel=3, stride=stride)])
        inner = self.convolve(inner, (after, after), kernel=3, stride=1)
        if stride != 1 or before != after:
            x = self.convolve(x, channels, kernel=1, stride=stride)
        return self.add("Relu", [self.add("Add", [x, inner])])


def residual_network() -> ModelProto:
    """The whole network; input ``input`` ``(N, 3, 224, 224)``, output ``output`` ``(N, 1000)``, both FP32."""
    graph = _Graph()
    width = 32
    x = graph.add("Relu", [graph.convolve("input", (3, width), kernel=7, stride=4)])
    for after, stride in BLOCKS:
        x = graph.block(x, (width, after), stride)
        width = after
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x])])
    last = [x, graph.weight(width, 1000, spread=0.05), graph.weight(1000, spread=0.0)]
    graph.nodes.append(helper.make_node("Gemm", last, ["output"]))
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1000])]
    whole = helper.make_graph(graph.nodes, "residual", inputs, outputs, graph.weights)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model
