"""A TensorFlow model as an `Original`: its own tensors in, the package's answers out, tf2onnx's graph to compile to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import pandas as pd
from msgspec.structs import replace
from onnx import ModelProto, defs, helper

from penstock.build.format import Compiled, Original, Specs
from penstock.build.graphs import surgery
from penstock.build.triton.graph import add_label
from penstock.runtime.outerform import LABEL
from penstock.runtime.tensorflowmodel import TensorflowModel
from penstock.tensors import Arrays

OPSET = 18
"""The newest that tf2onnx writes; onnxruntime takes it."""


class TensorflowOriginal(Original):
    """What `penstock.runtime.tensorflowmodel` loaded."""

    def __init__(self, model: TensorflowModel) -> None:
        self._model = model

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Numbers of the classes where the model ends in a softmax or in one sigmoid; else empty."""
        return self._model.classes

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """The model's own inputs; a matrix has the names of the data's columns."""
        specs = self._model.specs
        columns = () if frame is None else tuple(map(str, frame.columns))
        one = specs[0]
        alike = len(specs) == 1 and len(one.shape) == 2 and one.datatype in ("FP32", "FP64")
        if alike and one.shape[1] in (-1, len(columns)) and len(columns) > 1 and one.name not in columns:
            return (replace(one, shape=(-1, len(columns)), columns=columns),)
        return specs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the model says."""
        del inputs
        return self._model.answer_arrays(rows)

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """One graph, of the function that the model is asked through."""
        yield lambda: _compiled(self._model, inputs, outputs).SerializeToString()


def _compiled(model: TensorflowModel, inputs: Specs, outputs: Specs) -> ModelProto:
    """The traced function as ONNX, with the signature's names on both sides."""
    converted: ModelProto
    tf2onnx = import_module("tf2onnx")
    converted, _ = tf2onnx.convert.from_function(model.function, input_signature=model.given, opset=OPSET)
    _require_known(converted)
    given = {value.name for value in converted.graph.input}
    feeds = [
        helper.make_node("Identity", [spec.name], [one.name])
        for spec, one in zip(inputs, model.given, strict=True)
        if one.name in given
    ]
    surgery.insert(converted.graph, 0, feeds)
    surgery.name_inputs(converted.graph, inputs)
    own = outputs if model.form is None else tuple(one for one in outputs if one.name != LABEL or not model.form.judged)
    _order_outputs(converted, model, own)
    surgery.name_outputs(converted.graph, own)
    if model.form is not None:
        add_label(converted, model.form)
    surgery.deduplicate_opsets(converted)
    return converted


def _require_known(converted: ModelProto) -> None:
    """Say which operations tf2onnx left as they were.

    Raises:
        NotImplementedError: It left some.
    """
    nodes = [*converted.graph.node, *(node for one in converted.functions for node in one.node)]
    left = {node.op_type for node in nodes if node.domain in ("", "ai.onnx") and not defs.has(node.op_type)}
    if left:
        raise NotImplementedError(f"TensorFlow's {', '.join(sorted(left)[:8])}")


def _order_outputs(converted: ModelProto, model: TensorflowModel, outputs: Specs) -> None:
    """Put the graph's outputs into the order of the package's: TensorFlow sorts them by name."""
    names = sorted(spec.name for spec in outputs)
    values = list(converted.graph.output)
    traced = model.function.get_concrete_function().structured_outputs
    assert sorted(traced) == names
    assert len(values) == len(names)
    by_name = dict(zip(names, values, strict=True))
    del converted.graph.output[:]
    converted.graph.output.extend(by_name[spec.name] for spec in outputs)
