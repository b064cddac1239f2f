"""The contract of a declared step in a graph: the nodes that do what the step's record does with arrays.

    columns of a graph -> BeforeEmission -> columns;  answers of a graph -> AfterEmission -> answers

To add one: a file in ``emissions/`` whose class has one verb, and one line in `penstock.adapters`; the record that it
puts into a graph is in ``runtime/transforms/``, and ``tests/contracts/test_transform.py`` holds one against the other.
"""

from __future__ import annotations

from typing import Any, Protocol

from penstock.build.graphs.writer import Column, GraphWriter, Tensor

ColumnNames = dict[str, Column]
Tensors = dict[str, Tensor]


class BeforeEmission(Protocol):
    """Nodes of a `penstock.runtime.transform.BeforeStep`."""

    def emit(self, step: Any, graph: GraphWriter, columns: ColumnNames) -> ColumnNames:
        """The columns after the step.

        Raises:
            NotImplementedError: ONNX has no operator for it.
        """


class AfterEmission(Protocol):
    """Nodes of a `penstock.runtime.transform.AfterStep`."""

    def emit(self, step: Any, graph: GraphWriter, answers: Tensors) -> Tensors:
        """The answers after the step."""
