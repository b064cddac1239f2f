"""A PyTorch model as an ONNX graph, by PyTorch's own exporters, with the signature's names on both sides.

Comes in: a loaded model and a few rows. Goes out: a graph whose outputs are the package's: where the model answers
scores of classes, the label is chosen in the graph, as `penstock.runtime.torchmodel` chooses it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from penstock.build.format import Specs
from penstock.build.graphs import surgery
from penstock.build.graphs.apart import APART_BYTES, settle
from penstock.build.graphs.externals import outside_places, take_in
from penstock.build.triton.graph import add_label
from penstock.runtime.torchmodel import TorchModel
from penstock.tensors import Array, Arrays, TensorSpec

OPSET = 18
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LACKING = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'|[Ee]xporting the operator '([\w:]+)'")


def program_graph(
    model: TorchModel, rows: Arrays, inputs: Specs, outputs: Specs, *, apart_bytes: int = APART_BYTES
) -> bytes:
    """Of a program; a module is exported first. Numbers of a large graph lie in the working folder."""
    program = model.program if model.program is not None else exported(model, rows)
    with TemporaryDirectory(prefix="graph-", dir=Path.cwd()) as place:
        file = Path(place) / "graph.onnx"
        with _told_plainly():
            made = import_module("torch.onnx").export(program, (), dynamo=True, verbose=False, opset_version=OPSET)
            made.save(file, external_data=True)  # written number by number: none of them is held twice
        del made
        graph = ModelProto.FromString(file.read_bytes())
        places = outside_places(graph, file.parent)
        take_in(graph, file.parent)
        settle(graph, places, Path.cwd(), apart_bytes=apart_bytes)
    return _finished(graph, model, inputs, outputs)


def script_graph(model: TorchModel, rows: Arrays, inputs: Specs, outputs: Specs) -> bytes:
    """Of a script."""
    file = BytesIO()
    names = [spec.name for spec in inputs]
    given = tuple(model.tensor(rows[name]) for name in names)
    with _told_plainly():
        # The exporter knows a script, and no module around one: that is traced first.
        script = model.module if model.form is None else model.torch.jit.trace(model.module, given, check_trace=False)
        import_module("torch.onnx").export(
            script,
            given,
            file,
            dynamo=False,
            input_names=names,
            dynamic_axes={spec.name: _free(spec) for spec in inputs},
            opset_version=OPSET,
        )
    return _finished(ModelProto.FromString(file.getvalue()), model, inputs, outputs)


def _free(spec: TensorSpec) -> dict[int, str]:
    """Names of the sizes that an input leaves free."""
    return {at: f"{spec.name}_{at}" if at else "rows" for at, size in enumerate(spec.shape) if size == -1}


def exported(model: TorchModel, rows: Arrays) -> Any:
    """A module as a program of any number of rows.

    Args:
        model: Of a module.
        rows: A few; one row alone is given twice, because PyTorch takes one for a constant.
    """
    torch = model.torch
    given = {name: model.tensor(_two(array)) for name, array in rows.items()}
    rows_alone = {name: {0: torch.export.Dim.DYNAMIC} for name in given}
    return torch.export.export(model.module, (), kwargs=given, dynamic_shapes=rows_alone, strict=False)


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Say which operator has no form in ONNX instead of what an exporter's developers want to know.

    Raises:
        NotImplementedError: There is one.
        RuntimeError: The exporter failed otherwise; its innermost reason.
    """
    try:
        with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
            yield
    except Exception as error:
        inner: BaseException = error
        while inner.__cause__ is not None:
            inner = inner.__cause__
        text = _COLOURS.sub("", f"{error}\n{inner}")
        lacking = _LACKING.search(text)
        if lacking:
            raise NotImplementedError(
                f"PyTorch's exporter has no form in ONNX for {lacking[1] or lacking[2]}"
            ) from error
        raise RuntimeError(_COLOURS.sub("", str(inner))) from error


def _two(array: Array) -> Array:
    return np.concatenate([array, array]) if len(array) == 1 else array


def _finished(made: ModelProto, model: TorchModel, inputs: Specs, outputs: Specs) -> bytes:
    """With the signature's inputs and the package's outputs."""
    graph = made.graph
    given = [value.name for value in graph.input]
    feeds = [
        helper.make_node("Identity", [spec.name], [name])
        for spec, name in zip(inputs, given, strict=True)
        if spec.name != name
    ]
    surgery.insert(graph, 0, feeds)
    surgery.name_inputs(graph, inputs)
    if model.labels:
        _choose(made, model, outputs)
    if model.form is None:
        surgery.name_outputs(graph, outputs)
    else:
        surgery.name_outputs(graph, outputs[: len(model.form.outputs)])
        add_label(made, model.form)
    used = {node.domain for node in graph.node} | {node.domain for one in made.functions for node in one.node}
    kept = [one for one in made.opset_import if one.domain in used | {""}]
    del made.opset_import[:]
    made.opset_import.extend(kept)
    data: bytes = made.SerializeToString()
    return data


def _choose(made: ModelProto, model: TorchModel, outputs: Sequence[TensorSpec]) -> None:
    """The label in front of the scores: of the largest, the first of equals."""
    graph = made.graph
    (scores,) = graph.output
    name = scores.name
    if outputs[1].shape[1] != 1 and _width(scores) == 1:
        first, both = f"{name}_first", f"{name}_both"
        if model.probable:
            kind = surgery.TYPES[outputs[1].datatype]
            one = numpy_helper.from_array(np.ones(1, helper.tensor_dtype_to_np_dtype(kind)), f"{name}_one")
            graph.initializer.append(one)
            graph.node.append(helper.make_node("Sub", [f"{name}_one", name], [first]))
        else:
            graph.node.append(helper.make_node("Neg", [name], [first]))
        graph.node.append(helper.make_node("Concat", [first, name], [both], axis=1))
        name = both
    labels = np.asarray(model.labels)
    known = labels.astype(np.int64) if labels.dtype.kind in "iub" else labels.astype(object)
    graph.initializer.append(numpy_helper.from_array(known, "penstock_classes"))
    graph.node.append(helper.make_node("ArgMax", [name], ["penstock_place"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Gather", ["penstock_classes", "penstock_place"], ["penstock_label"]))
    del graph.output[:]
    kind = surgery.TYPES[outputs[0].datatype]
    graph.output.append(helper.make_tensor_value_info("penstock_label", kind, [None]))
    graph.output.append(helper.make_tensor_value_info(name, surgery.TYPES[outputs[1].datatype], [None, None]))


def _width(value: Any) -> int:
    sizes = value.type.tensor_type.shape.dim
    return int(sizes[1].dim_value) if len(sizes) == 2 else 0
