"""A model's graph with the declared steps in front of it and behind it: one graph, which takes raw columns.

What comes in: the graph of the model alone, the steps, and the ends that the package has. What goes out: one graph.
Names of the model's own graph get a prefix, so that a raw column may have the name of one that was prepared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from onnx import ModelProto, compose, helper, version_converter

from penstock import adapters
from penstock.build.emission import AfterEmission, BeforeEmission, ColumnNames, Tensors
from penstock.build.graphs import surgery
from penstock.build.graphs.writer import ML, Column, GraphWriter, Tensor
from penstock.runtime.transformed import Feed, Transforms
from penstock.tensors import TensorSpec

ORIGINAL = "original/"
ML_OPSET = 3
_NAMES: dict[int, str] = {number: name for name, number in surgery.TYPES.items()}


def fused(graph: bytes, transforms: Transforms, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bytes:
    """One graph of all of it.

    Args:
        graph: The model's own.
        transforms: What stands around it.
        inputs: The package's.
        outputs: The package's.

    Raises:
        NotImplementedError: ONNX has no operator for one of the steps.
    """
    before, after = GraphWriter("before/"), GraphWriter("after/")
    fed = _before(before, transforms, inputs)
    model = _original(ModelProto.FromString(graph), max(before.opset, after.opset))
    for node in model.graph.node:
        node.input[:] = [fed.get(name, name) for name in node.input]
    answers: Tensors = {
        value.name.removeprefix(ORIGINAL): Tensor(value.name, _NAMES[value.type.tensor_type.elem_type])
        for value in model.graph.output
    }
    for name, step in transforms.after:
        answers = cast("AfterEmission", adapters.load("emission", name)()).emit(step, after, answers)
    _end(after, answers, outputs)
    surgery.insert(model.graph, 0, before.nodes)
    model.graph.node.extend(after.nodes)
    model.graph.initializer.extend([*before.constants, *after.constants])
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(
            spec.name, surgery.TYPES[spec.datatype], [None if size == -1 else size for size in spec.shape]
        )
        for spec in outputs
    )
    surgery.name_inputs(model.graph, inputs)
    written: bytes = model.SerializeToString()
    return written


def _original(model: ModelProto, opset: int) -> ModelProto:
    """The model's graph under names of its own, with operators new enough for the steps."""
    have = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=opset)
    if have < opset:
        model = version_converter.convert_version(model, opset)
    if not any(one.domain == ML and one.version >= ML_OPSET for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid(ML, ML_OPSET))
        surgery.deduplicate_opsets(model)
    # An input with a default is a constant here: nobody can send it.
    constants = {one.name for one in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    named: ModelProto = compose.add_prefix(model, ORIGINAL)
    return named


def _before(graph: GraphWriter, transforms: Transforms, inputs: Sequence[TensorSpec]) -> dict[str, str]:
    """What each of the model's own inputs is read from."""
    if not transforms.before:
        return {f"{ORIGINAL}{spec.name}": spec.name for spec in inputs}
    columns: ColumnNames = {spec.name: Column(Tensor(spec.name, spec.datatype), 0, 1) for spec in inputs}
    for name, step in transforms.before:
        columns = cast("BeforeEmission", adapters.load("emission", name)()).emit(step, graph, columns)
    return {f"{ORIGINAL}{feed.spec.name}": _fed(graph, feed, columns) for feed in transforms.feeds}


def _fed(graph: GraphWriter, feed: Feed, columns: ColumnNames) -> str:
    """One input of the model's own."""
    joined = graph.matrix([columns[name] for name in feed.columns], feed.spec.datatype)
    return graph.add("Squeeze", joined, graph.whole(1)) if len(feed.spec.shape) == 1 else joined


def _end(graph: GraphWriter, answers: Tensors, outputs: Sequence[TensorSpec]) -> None:
    """Each answer under its name, in its type."""
    for spec in outputs:
        given = answers[spec.name]
        ended = graph.cast(given, spec.datatype)
        graph.nodes.append(helper.make_node("Identity", [ended], [spec.name]))
