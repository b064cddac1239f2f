"""A PyTorch model as an `Original`: its tensors in, the package's answers out, PyTorch's own ONNX to compile to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec.structs import replace

from penstock.build.format import Compiled, Original, Specs
from penstock.build.graphs.mapped import let_go
from penstock.build.schema import to_arrays
from penstock.build.torch.graphs import program_graph, script_graph
from penstock.build.torch.inputs import example_frame, told_inputs
from penstock.errors import InvalidInput
from penstock.runtime.torchmodel import TorchModel
from penstock.tensors import DTYPES, FLOATS, Arrays, TensorSpec


class TorchOriginal(Original):
    """What `penstock.runtime.torchmodel` loaded.

    Args:
        model: It.
        mapped: Files in which its weights lie, which it does not change.

    Attributes:
        example: Rows made from those that a program was exported with; None where it has none.
    """

    def __init__(self, model: TorchModel, *mapped: Path) -> None:
        self._model = model
        self._mapped = mapped
        self._rows: Arrays = {}
        self._answered: Arrays = {}
        self.example = example_frame(model)

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """As they were named, or numbers where the model ends in a softmax; else empty."""
        if self._model.form is not None:
            return self._model.form.classes
        known = self._model.labels
        if not known and {"label", "probabilities"} <= self._answered.keys():
            return tuple(range(self._answered["probabilities"].shape[-1]))
        return known

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """What a program says; what the rows say of any other.

        Raises:
            InvalidInput: There are no rows, or they are not of its shapes.
        """
        model = self._model
        if frame is None and not model.specs:
            raise InvalidInput(
                "the model does not say what it takes", "give some rows with --data, or export it", where="data"
            )
        if frame is None:
            return model.specs
        specs = tuple(_with_columns(spec, frame) for spec in model.specs) if len(model.specs) == 1 else model.specs
        specs = specs or told_inputs(model, frame)
        lacking = [spec.name for spec in specs if spec.name not in frame] if len(specs) > 1 else []
        if lacking:
            raise InvalidInput(
                f"the data lacks {', '.join(lacking[:8])}", f"the model takes {', '.join(model.needs)}", where="data"
            )
        rows = to_arrays(frame.head(8), specs)
        for spec in specs:
            sizes = rows[spec.name].shape
            if len(sizes) != len(spec.shape) or any(
                a not in (-1, b) for a, b in zip(spec.shape[1:], sizes[1:], strict=True)
            ):
                raise InvalidInput(
                    f"the data has {list(sizes[1:])} a row for {spec.name}, the model takes {list(spec.shape[1:])}",
                    "give rows as it was trained on, and name the label",
                    where="data",
                )
        self._rows = rows
        return specs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the model says."""
        del inputs
        with let_go(*self._mapped):
            answers = self._model.answer_arrays(rows)
        self._answered = answers
        return answers

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """PyTorch's own export, of a script by its older exporter."""
        model = self._model
        rows = self._rows or {
            spec.name: np.zeros((2, *(max(n, 1) for n in spec.shape[1:])), DTYPES[spec.datatype]) for spec in inputs
        }
        if model.form is not None or (model.program is None and hasattr(model.module, "save")):
            yield lambda: script_graph(model, rows, inputs, outputs)
        else:
            yield lambda: self._program_graph(rows, inputs, outputs)

    def _program_graph(self, rows: Arrays, inputs: Specs, outputs: Specs) -> bytes:
        with let_go(*self._mapped):
            return program_graph(self._model, rows, inputs, outputs)


def _with_columns(spec: TensorSpec, frame: pd.DataFrame) -> TensorSpec:
    """A matrix has the names of the data's columns."""
    columns = tuple(map(str, frame.columns))
    alike = len(spec.shape) == 2 and spec.datatype in FLOATS and spec.name not in columns
    if alike and len(columns) > 1 and spec.shape[1] in (-1, len(columns)):
        return replace(spec, shape=(-1, len(columns)), columns=columns)
    return spec
