"""A graph's bytes, shorter: lists of whole numbers packed, as Protocol Buffers allows and ONNX's schema does not ask.

Lists of integers are the most of a forest's graph. `onnx` writes a tag before each number; every reader has to take
the packed form, too (Protocol Buffers, "Encoding": parsers accept both). The message is the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

_INTS = 8
_NODE_ATTRIBUTE = 5
_GRAPH_NODE = 1
_MODEL_GRAPH = 7
SHORT = 8
"""A list of fewer numbers is left alone."""


def serialized(model: ModelProto) -> bytes:
    """The model's bytes; `ModelProto.FromString` gives an equal model back."""
    outer = ModelProto()
    outer.CopyFrom(model)
    nodes = [NodeProto.FromString(_bytes(node)) for node in outer.graph.node]
    del outer.graph.node[:]
    rest = _bytes(outer.graph)
    outer.ClearField("graph")
    graph = b"".join(_field(_GRAPH_NODE, _node(node)) for node in nodes) + rest
    return _bytes(outer) + _field(_MODEL_GRAPH, graph)


def _node(node: NodeProto) -> bytes:
    """A node, its long lists packed."""
    if not any(len(one.ints) >= SHORT for one in node.attribute):
        return _bytes(node)
    bare = NodeProto()
    bare.CopyFrom(node)
    del bare.attribute[:]
    return _bytes(bare) + b"".join(_field(_NODE_ATTRIBUTE, _attribute(one)) for one in node.attribute)


def _attribute(given: AttributeProto) -> bytes:
    """An attribute with its list packed."""
    if len(given.ints) < SHORT:
        return _bytes(given)
    bare = AttributeProto()
    bare.CopyFrom(given)
    del bare.ints[:]
    return _bytes(bare) + _field(_INTS, b"".join(_varint(number) for number in given.ints))


def _field(number: int, content: bytes) -> bytes:
    """A field of known length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _bytes(message: ModelProto | GraphProto | NodeProto | AttributeProto) -> bytes:
    found: bytes = message.SerializeToString()
    return found


def _varint(number: int) -> bytes:
    """Seven bits a byte, the least first; a negative number is 64 bits wide."""
    return bytes(_sevens(number & (1 << 64) - 1))


def _sevens(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number
