"""Graphs of some hundred bytes that make gigabytes, or never end: of standard operators alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from packages_for_tests import _write as write_package
from penstock.packages.golden import Golden
from penstock.tensors import Array, Signature, TensorSpec

WIDTH = 4
FOR_EVER = 1 << 62
HUGE = 1 << 40


def bomb(kind: str, size: int = HUGE) -> ModelProto:
    """A graph from ``x`` to ``y``.

    Args:
        kind: A name of `BOMBS`.
        size: How many numbers it makes; a loop goes on for ever.
    """
    nodes, constants = BOMBS[kind](size)
    head = [helper.make_node("ReduceSum", ["x", "last"], ["sum"], keepdims=1)]
    tail = [
        helper.make_node("ReduceMax", ["made"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Add", ["sum", "zero"], ["y"]),
    ]
    constants = {
        "last": np.array([1], np.int64),
        "nothing": np.array(0, np.float32),
        "one": np.ones(1, np.float32),
        **constants,
    }
    body = helper.make_graph(
        [*head, *nodes, *tail],
        kind,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


_BY_INPUT: dict[str, Array] = {"least": np.array(0), "always": np.array(1)}
Made = tuple[Sequence[NodeProto], dict[str, Array]]


def _loop(size: int) -> Made:
    """It adds one for ever."""
    del size
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Add", ["state_in", "one"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [1]),
        ],
    )
    nodes = [helper.make_node("Loop", ["rounds", "go", "one"], ["made"], body=body)]
    return nodes, {"rounds": np.array(FOR_EVER, np.int64), "go": np.array(True)}


def _sequence(size: int) -> Made:
    """It puts a megabyte more into a sequence each turn, for ever."""
    del size
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1 << 18]))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Cast", ["turn"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Expand", ["number", "megabyte"], ["more"]),
            helper.make_node("SequenceInsert", ["state_in", "more"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_value_info("state_in", sequence),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_value_info("state_out", sequence),
        ],
    )
    nodes = [
        helper.make_node("SequenceEmpty", [], ["start"]),
        helper.make_node("Loop", ["rounds", "go", "start"], ["end"], body=body),
        helper.make_node("ConcatFromSequence", ["end"], ["made"], axis=0),
    ]
    constants = {"rounds": np.array(FOR_EVER, np.int64), "go": np.array(True), "megabyte": np.array([1 << 18])}
    return nodes, constants


def _expand(size: int) -> Made:
    return [helper.make_node("Expand", ["one", "shape"], ["made"])], {"shape": np.array([size], np.int64)}


def _tile(size: int) -> Made:
    return [helper.make_node("Tile", ["one", "shape"], ["made"])], {"shape": np.array([size], np.int64)}


def _constant(size: int) -> Made:
    return [helper.make_node("ConstantOfShape", ["shape"], ["made"])], {"shape": np.array([size], np.int64)}


def _range(size: int) -> Made:
    nodes = [
        helper.make_node("Range", ["from", "to", "step"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["made"], to=TensorProto.FLOAT),
    ]
    return nodes, {name: np.array(at, np.int64) for name, at in {"from": 0, "to": size, "step": 1}.items()}


def _expand_by_input(size: int) -> Made:
    """As many numbers as the largest input says, times `size`, and one: harmless while no input is 1 or more."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Max", ["whole", "least"], ["some"]),
        helper.make_node("Mul", ["some", "times"], ["more"]),
        helper.make_node("Add", ["more", "always"], ["many"]),
        helper.make_node("Reshape", ["many", "flat"], ["shape"]),
        helper.make_node("Expand", ["one", "shape"], ["made"]),
    ]
    return nodes, {**_BY_INPUT, "times": np.array(size), "flat": np.array([1])}


def _loop_by_input(size: int) -> Made:
    """As many turns as the largest input says, times `size`, and one."""
    (loop,), constants = _loop(size)
    loop.input[0] = "many"
    return [*_expand_by_input(size)[0][:5], loop], {**_BY_INPUT, "times": np.array(size), "go": constants["go"]}


BOMBS = {
    "Loop": _loop,
    "SequenceInsert": _sequence,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _constant,
    "Range": _range,
    "Expand by an input": _expand_by_input,
    "Loop by an input": _loop_by_input,
}


def bomb_package(folder: Path, kind: str, *, size: int = HUGE, name: str = "bomb") -> str:
    """A package around one, made by hand: nothing of packaging has looked at it; returns its digest."""
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, WIDTH)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1, 1)),),
    )
    rows = np.zeros((2, WIDTH), np.float32)
    golden = Golden(inputs={"x": rows}, outputs={"y": np.zeros((2, 1), np.float32)})
    graph = bomb(kind, size).SerializeToString()
    return write_package(folder, graph, signature, golden, name=name, task="regression", classes=())
