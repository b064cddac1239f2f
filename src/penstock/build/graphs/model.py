"""An ONNX graph as an `Original`: its own outputs, given the package's names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import pandas as pd
from onnx import ModelProto, TypeProto, ValueInfoProto
from onnxruntime import InferenceSession

from penstock.build.format import Compiled, Original, Specs
from penstock.build.graphs import surgery
from penstock.build.parity import open_graph, run_graph
from penstock.errors import InvalidInput
from penstock.tensors import Arrays, TensorSpec

_NAMES: dict[int, str] = {number: name for name, number in surgery.TYPES.items()}


class OnnxModel(Original):
    """A graph that was compiled elsewhere.

    Attributes:
        graph: With the package's outputs: ``label`` and ``probabilities``, or ``prediction``; or those of `keep`.

    Args:
        model: The graph.
        keep: Outputs that keep their own names; empty for the package's.
        classes: Labels where they are known; empty for those of the graph.
    """

    def __init__(self, model: ModelProto, keep: tuple[str, ...] = (), classes: tuple[str, ...] = ()) -> None:
        self.graph = named_as_is(model, keep) if keep else renamed(model)
        labelled = any(value.name == "label" for value in self.graph.graph.output)
        self._classes = classes or (class_labels(model, self.graph) if labelled else ())

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Labels as the classifier's node has them, else numbered from 0; empty for a regression."""
        return self._classes

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """The graph's own inputs."""
        columns = () if frame is None else tuple(map(str, frame.columns))
        specs = tuple(_spec(value.name, value.type) for value in real_inputs(self.graph))
        if len(specs) == 1 and len(specs[0].shape) == 2 and specs[0].shape[1] == len(columns) != 1:
            return (TensorSpec(name=specs[0].name, datatype=specs[0].datatype, shape=specs[0].shape, columns=columns),)
        return specs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the graph says."""
        del inputs
        return run_graph(self._session, rows, tuple(one.name for one in self.graph.graph.output))

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """Itself."""
        del inputs, outputs
        self.__dict__.pop("_session", None)  # what compares loads it once more, and two of them are too many
        yield lambda: self._bytes

    @cached_property
    def _bytes(self) -> bytes:
        """The graph's file."""
        written: bytes = self.graph.SerializeToString()
        return written

    @cached_property
    def _session(self) -> InferenceSession:
        """Loaded once for all questions."""
        return open_graph(self._bytes)


def real_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Inputs that are no constants."""
    constants = {one.name for one in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def renamed(model: ModelProto) -> ModelProto:
    """A copy with the package's outputs.

    Raises:
        InvalidInput: Its outputs are of no kind that the conventions know.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    drop_zipmap(copy)
    outputs = [_spec(value.name, value.type) for value in copy.graph.output]
    labels = [one for one in outputs if one.datatype in ("INT64", "BYTES") and _flat(one)]
    numbers = [one for one in outputs if one.datatype in ("FP32", "FP64")]
    wanted: list[tuple[TensorSpec, str, tuple[int, ...]]] = []
    if labels and numbers:
        wanted = [(labels[0], "label", (-1,)), (numbers[0], "probabilities", numbers[0].shape)]
    elif len(numbers) == 1:
        shape = (-1,) if _flat(numbers[0]) else numbers[0].shape
        wanted = [(numbers[0], "prediction", shape)]
    else:
        raise InvalidInput(
            "the graph's outputs are neither a label with probabilities nor one prediction",
            "export it with these outputs",
            where="model",
        )
    _keep_outputs(copy, [spec.name for spec, _, _ in wanted])
    specs = [TensorSpec(name=name, datatype=one.datatype, shape=shape) for one, name, shape in wanted]
    surgery.name_outputs(copy.graph, specs)
    return copy


def named_as_is(model: ModelProto, names: tuple[str, ...]) -> ModelProto:
    """A copy that gives these outputs alone, under the names that they have.

    Raises:
        InvalidInput: One of them is of a type that no answer can carry.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    _keep_outputs(copy, list(names))
    for value in copy.graph.output:
        _spec(value.name, value.type)
    return copy


def drop_zipmap(model: ModelProto) -> None:
    """Replace a ZipMap's list of dictionaries by the matrix that it was made of."""
    for node in list(model.graph.node):
        if node.op_type != "ZipMap":
            continue
        for value in model.graph.output:
            if value.name == node.output[0]:
                value.name = node.input[0]
                value.type.CopyFrom(TypeProto())
                value.type.tensor_type.elem_type = surgery.TYPES["FP32"]
                value.type.tensor_type.shape.dim.add()
                value.type.tensor_type.shape.dim.add()
        model.graph.node.remove(node)


def class_labels(model: ModelProto, graph: ModelProto) -> tuple[str | int | bool, ...]:
    """Labels by column of the probabilities."""
    for node in model.graph.node:
        for one in node.attribute:
            if one.name.startswith("classlabels_") and one.strings:
                return tuple(text.decode() for text in one.strings)
            if one.name.startswith("classlabels_") and one.ints:
                return tuple(one.ints)
    outputs = {value.name: value.type.tensor_type.shape.dim for value in graph.graph.output}
    if "probabilities" not in outputs:
        return ()
    return tuple(range(max(2, outputs["probabilities"][-1].dim_value)))


def _keep_outputs(model: ModelProto, names: list[str]) -> None:
    """These outputs in this order, no others."""
    kept = {value.name: value for value in model.graph.output}
    chosen = [kept[name] for name in names]
    del model.graph.output[:]
    model.graph.output.extend(chosen)


def _spec(name: str, kind: TypeProto) -> TensorSpec:
    """An input or output as the protocol has it.

    Raises:
        InvalidInput: It is no tensor of a type that requests can carry.
    """
    tensor = kind.tensor_type
    datatype = _NAMES.get(tensor.elem_type)
    if datatype is None:
        raise InvalidInput(
            "the graph has an input or output that no request can carry", "use plain tensors", where=name
        )
    shape = tuple(int(one.dim_value) or -1 for one in tensor.shape.dim) or (-1,)
    # The first dimension is the row, whatever the exporter had in its batch.
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *shape[1:]))


def _flat(spec: TensorSpec) -> bool:
    """One value a row."""
    return len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1)
