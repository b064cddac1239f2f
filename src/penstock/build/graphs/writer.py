"""Nodes and constants of a graph, written one after the other, and tables of columns in it.

What comes in: operators, names of tensors, arrays. What goes out: nodes in the order of work, with names of their own.
A column is a place in a matrix, so that steps on many columns are one operator, not one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.build.graphs.surgery import TYPES
from penstock.tensors import DTYPES, Array

ML = "ai.onnx.ml"


class Tensor(NamedTuple):
    """A tensor by name, and its datatype as the protocol has it."""

    name: str
    datatype: str


class Column(NamedTuple):
    """One column of a matrix ``(rows, width)``."""

    matrix: Tensor
    place: int
    width: int


class GraphWriter:
    """Writes nodes.

    Attributes:
        nodes: In the order of work.
        constants: Initializers.
        opset: The least version of ONNX's operators that the nodes need.

    Args:
        prefix: Of all names that it makes.
    """

    def __init__(self, prefix: str) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.opset = 13
        self._names: Iterator[str] = (f"{prefix}{number}" for number in count())

    def constant(self, array: Array) -> str:
        """An initializer's name."""
        name = next(self._names)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """A double's name."""
        return self.constant(np.array(value, dtype=np.float64))

    def whole(self, *values: int) -> str:
        """The name of a list of whole numbers."""
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, operator: str, *given: str, domain: str = "", body: GraphProto | None = None, **values: Any) -> str:
        """A node of one output; its name."""
        return self.several(operator, *given, outputs=1, domain=domain, body=body, **values)[0]

    def several(
        self,
        operator: str,
        *given: str,
        outputs: int,
        domain: str = "",
        body: GraphProto | None = None,
        **values: Any,
    ) -> list[str]:
        """A node; the names of its outputs."""
        names = [next(self._names) for _ in range(outputs)]
        node = helper.make_node(operator, list(given), names, domain=domain, **values)
        if body is not None:
            node.attribute.append(AttributeProto(name="body", type=AttributeProto.GRAPH, g=body))
        self.nodes.append(node)
        return names

    def cast(self, tensor: Tensor, datatype: str) -> str:
        """The tensor in a type; its own name where it has that."""
        if tensor.datatype == datatype:
            return tensor.name
        return self.add("Cast", tensor.name, to=TYPES[datatype])

    def choose(self, condition: str, yes: str, no: str) -> str:
        """One or the other, value by value."""
        return self.add("Where", condition, yes, no)

    def matrix(self, columns: Sequence[Column], datatype: str) -> str:
        """Columns beside each other as one matrix of a type."""
        parts: list[str] = []
        for run in _runs(columns):
            whole = self.cast(run[0].matrix, datatype)
            places = [column.place for column in run]
            if places != list(range(run[0].width)):
                whole = self.add("Gather", whole, self.whole(*places), axis=1)
            parts.append(whole)
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def places(self, texts: str, known: Iterable[str], unknown: int = -1) -> str:
        """The place of each text among some, as INT64."""
        keys = list(known)
        numbers = list(range(len(keys)))
        return self.add(
            "LabelEncoder", texts, domain=ML, keys_strings=keys, values_int64s=numbers, default_int64=unknown
        )

    def labels(self, codes: str, labels: Array) -> Tensor:
        """Labels by their places."""
        return Tensor(
            self.add("Gather", self.constant(labels), codes), "BYTES" if labels.dtype.kind == "O" else "INT64"
        )


def spread(matrix: str, datatype: str, names: Sequence[str]) -> dict[str, Column]:
    """All columns of a matrix by name."""
    return {name: Column(Tensor(matrix, datatype), place, len(names)) for place, name in enumerate(names)}


def constant_row(values: Sequence[str | float]) -> Array:
    """``(1, columns)``: texts, or doubles."""
    text = isinstance(values[0], str)
    return np.array([list(values)], dtype=DTYPES["BYTES" if text else "FP64"])


def _runs(columns: Sequence[Column]) -> list[list[Column]]:
    """Neighbours that lie in one matrix together."""
    found: list[list[Column]] = []
    for column in columns:
        if found and found[-1][0].matrix == column.matrix:
            found[-1].append(column)
        else:
            found.append([column])
    return found
