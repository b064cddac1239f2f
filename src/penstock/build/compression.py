"""The contract of a compression: a graph comes in, other forms of it come out.

    graph + rows -> Compression.forms -> (label, way to make it) ...

A form answers nearly as the graph does and costs less; whether both are so is not for the compression to say: each
form is packaged, judged by the gate and measured (`penstock.app.compressing`). To add one: a file in
``compressions/`` with a class that has this verb, one line in `penstock.adapters`; ``tests/contracts/
test_compression.py`` then runs over it. All of it happens inside the sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import ClassVar, NamedTuple, Protocol

import onnx
import onnxruntime
from onnx import ModelProto, TensorProto

from penstock.build.graphs import surgery
from penstock.tensors import Arrays

OPSET = 13
"""Before it, a scale of its own for each column of a weight cannot be said."""


class ModelForm(NamedTuple):
    """Another form of a graph.

    Attributes:
        label: What was done, as the table names it.
        make: Makes it; it may raise.
    """

    label: str
    make: Callable[[], ModelProto]


class Compression(Protocol):
    """One way to make a graph smaller or quicker.

    Attributes:
        name: Its name in the adapters' ``compression`` table.
    """

    name: ClassVar[str]

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """Forms worth trying, the mildest first.

        Args:
            model: A graph of standard operators; it is not changed.
            rows: Conformed inputs to calibrate on.

        Raises:
            NotImplementedError: There is nothing in the graph that this could act on; the message says what it lacks.
        """


def copied(model: ModelProto) -> ModelProto:
    """A graph of its own, to work on."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def folded(model: ModelProto) -> ModelProto:
    """The graph as ONNX Runtime's portable optimizations leave it: constants worked out, detours gone.

    What is left are standard operators: the runtime's own fusions come when it loads a graph, and to no file.

    Raises:
        Exception: ONNX Runtime does not take the graph.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with TemporaryDirectory() as place:
        options.optimized_model_filepath = f"{place}/folded.onnx"
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = onnx.load_model(options.optimized_model_filepath)
    drop_unused_sets(found)
    return found


def drop_unused_sets(model: ModelProto) -> None:
    """Drop the operator sets that no node is of: optimizers and quantizers import more than they use."""
    used = {"", "ai.onnx"} | {node.domain for node in surgery.all_nodes(model)}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def constants_of(model: ModelProto) -> dict[str, TensorProto]:
    """Initializers by name."""
    return {one.name: one for one in model.graph.initializer}


def opset_of(model: ModelProto, domain: str = "") -> int:
    """The version of an operator set; 0 where the graph does not import it."""
    names = {domain, "ai.onnx"} if not domain else {domain}
    return max((one.version for one in model.opset_import if one.domain in names), default=0)
