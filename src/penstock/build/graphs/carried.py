"""What an ONNX graph carries besides ONNX's own operators on numbers of its own.

What comes in: a graph that somebody else made. What goes out: domains of operators that are not ONNX's, and tensors
that lie in other files, wherever in the graph, its loops, branches and functions they stand.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message
from onnx import ModelProto, NodeProto, TensorProto

STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_RUNTIMES = ("ai.onnx", "com.microsoft", "com.ms", "org.pytorch")
"""What the domains of ONNX Runtime's own operators begin with: of two that have one name it runs its own."""


def carried(model: ModelProto) -> list[str]:
    """Names of it all; empty for a plain graph."""
    named = {(one.domain, one.name) for one in model.functions}
    own = {(domain, name) for domain, name in named if domain and not domain.startswith(_RUNTIMES)}
    foreign = {one.domain for one in model.opset_import} - {domain for domain, _ in own}
    outside: set[str] = set()
    for part in messages_in(model):
        # A function of the graph's own makes no other operator of its domain known.
        if isinstance(part, NodeProto) and (part.domain, part.op_type) not in own:
            foreign.add(part.domain)
        elif isinstance(part, TensorProto) and (part.external_data or part.data_location):
            outside.add(part.name)
    shadows = sorted({f"a function in the place of {domain or 'ai.onnx'}" for domain, _ in named - own})
    return sorted(foreign - STANDARD) + shadows + [f"external data of {name}" for name in sorted(outside)]


def messages_in(model: ModelProto) -> Iterator[Message]:
    """Every message inside of a model."""
    waiting: list[Message] = [model]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value
