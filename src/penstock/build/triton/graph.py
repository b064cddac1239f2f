"""A graph as Triton's clients know it: held to its configuration, reshaped where that says so, its labels in it.

What comes in: a graph and what is said of it. What goes out: the graph with the sizes that clients see, or a refusal
that names what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from penstock.build.graphs.surgery import TYPES, insert
from penstock.errors import InvalidInput
from penstock.runtime.outerform import LABEL, Known, OuterForm, OuterTensor, require_fit, require_inputs

_NAMES: dict[int, str] = {number: name for name, number in TYPES.items()}


def turned_outward(model: ModelProto, form: OuterForm) -> ModelProto:
    """A graph as its clients know it.

    Args:
        model: The graph.
        form: What is said of it.

    Returns:
        A copy that gives the outputs that are named, all of its own where none is, and the label that follows.

    Raises:
        InvalidInput: They differ, or the first dimension is no batch.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    constants = {one.name for one in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in constants}
    outputs = {value.name: value for value in graph.output}
    for name, value in (*inputs.items(), *outputs.items()):
        require_batch(name, _known(value)[1])
    require_inputs(form.inputs, {name: _known(value) for name, value in inputs.items()})
    require_fit(form.outputs, {name: _known(value) for name, value in outputs.items()})
    for one in (*form.inputs, *form.outputs):
        require_batch(one.name, one.shape)
    for one in form.inputs:
        if one.shape != one.within:
            inner = _set_apart(graph, one.name)
            insert(graph, 0, _reshape(graph, one.name, inner, one.shape, one.within))
        _declare(inputs[one.name], one)
    for one in form.outputs:
        if one.shape != one.within:
            inner = _set_apart(graph, one.name)
            graph.node.extend(_reshape(graph, inner, one.name, one.within, one.shape))
        _declare(outputs[one.name], one)
    if form.outputs:
        kept = [outputs[one.name] for one in form.outputs]
        del graph.output[:]
        graph.output.extend(kept)
    add_label(copy, form)
    return copy


def add_label(model: ModelProto, form: OuterForm) -> None:
    """Let a graph answer the label of its largest number too, where it has labels."""
    judged = form.judged
    if judged is None:
        return
    graph = model.graph
    labels = np.array(judged.labels, dtype=object)
    graph.initializer.append(numpy_helper.from_array(labels, "penstock_labels"))
    graph.node.append(helper.make_node("ArgMax", [judged.name], ["penstock_place"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Gather", ["penstock_labels", "penstock_place"], [LABEL]))
    graph.output.append(helper.make_tensor_value_info(LABEL, TensorProto.STRING, [None]))


def require_batch(name: str, sizes: Sequence[int]) -> None:
    """Rows stand along the first dimension, as many as are asked.

    Raises:
        InvalidInput: They do not.
    """
    if not sizes or sizes[0] != -1:
        raise InvalidInput(
            "the model takes no batch of any size: its first dimension is fixed, or there is none",
            "export it with a dynamic batch dimension, and give it a max_batch_size",
            where=name[:80],
            code="build.fixed_batch",
        )


def _known(value: ValueInfoProto) -> Known:
    """Type and sizes of a graph's value."""
    tensor = value.type.tensor_type
    sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
    return _NAMES.get(tensor.elem_type, ""), sizes


def _declare(value: ValueInfoProto, one: OuterTensor) -> None:
    """A graph's value with the sizes that clients see; those that they leave open are the graph's."""
    own = _known(value)[1] if one.shape == one.within else one.shape
    sizes = [mine if said == -1 else said for said, mine in zip(one.shape, own, strict=True)]
    element = value.type.tensor_type.elem_type
    shape = [None if size == -1 else size for size in sizes]
    value.CopyFrom(helper.make_tensor_value_info(one.name, element, shape))


def _set_apart(graph: GraphProto, name: str) -> str:
    """Give a tensor another name within the graph, so that its own is free outside; which."""
    inner = f"{name}_within"
    for node in _nodes(graph):
        for ends in (node.input, node.output):
            for at, one in enumerate(ends):
                if one == name:
                    ends[at] = inner
    return inner


def _nodes(graph: GraphProto) -> Iterable[NodeProto]:
    """All of them, those of loops and branches too, which see the names around them."""
    for node in graph.node:
        yield node
        for one in node.attribute:
            for body in (*one.graphs, *([one.g] if one.HasField("g") else ())):
                yield from _nodes(body)


def _reshape(graph: GraphProto, given: str, made: str, before: Sequence[int], after: Sequence[int]) -> list[NodeProto]:
    """Nodes that give a tensor other sizes; free ones stay what they are."""
    shape = f"{given}_to_{made}"
    if after.count(-1) <= 2:  # the rows, and one that follows from all others
        graph.initializer.append(numpy_helper.from_array(np.array([0, *after[1:]], np.int64), shape))
        return [helper.make_node("Reshape", [given, shape], [made])]
    free = [at for at, size in enumerate(before) if size == -1]
    places = [free.pop(0) if size == -1 else len(before) + at for at, size in enumerate(after)]
    graph.initializer.append(numpy_helper.from_array(np.array(after, np.int64), f"{shape}_said"))
    graph.initializer.append(numpy_helper.from_array(np.array(places, np.int64), f"{shape}_places"))
    return [
        helper.make_node("Shape", [given], [f"{shape}_there"]),
        helper.make_node("Concat", [f"{shape}_there", f"{shape}_said"], [f"{shape}_both"], axis=0),
        helper.make_node("Gather", [f"{shape}_both", f"{shape}_places"], [shape]),
        helper.make_node("Reshape", [given, shape], [made]),
    ]
