"""Looks into the graph that TensorFlow traced of a function: which operation an answer comes from."""

from __future__ import annotations

from typing import Any

_CALLS = ("StatefulPartitionedCall", "PartitionedCall")
_DEEPEST = 64


def last_operation(tensor: Any) -> str:
    """Which operation a tensor of a traced graph comes from, functions opened and identities passed; may be empty."""
    operation = tensor.op
    while operation.type == "Identity" and operation.inputs:
        tensor = operation.inputs[0]
        operation = tensor.op
    if operation.type not in _CALLS:
        return str(operation.type)
    library = {one.signature.name: one for one in operation.graph.as_graph_def().library.function}
    name, at = operation.get_attr("f").name, tensor.value_index
    for _ in range(_DEEPEST):
        function = library.get(name)
        if function is None:
            return ""
        nodes = {one.name: one for one in function.node_def}
        place = function.ret[function.signature.output_arg[at].name]
        node = nodes.get(place.partition(":")[0])
        while node is not None and node.op == "Identity":
            place = node.input[0]
            node = nodes.get(place.partition(":")[0])
        if node is None or node.op not in _CALLS:
            return str(node.op) if node is not None else ""
        name, at = node.attr["f"].func.name, int(place.rpartition(":")[2])
    return ""
