"""Weights and work in half precision, inputs and outputs as they were.

Half the size everywhere. Weights that are only stored so are widened at loading, and the speed is what it was. Work in
half precision is faster on processors that have it; on others ONNX Runtime widens and narrows around each operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from penstock.build.compression import ModelForm, constants_of, copied, drop_unused_sets, folded
from penstock.build.graphs.surgery import insert
from penstock.tensors import Arrays

MIN_WEIGHTS = 256
"""Fewer numbers than these are not worth a cast."""
MOST = 65504.0
"""The largest number in half precision."""


class Float16:
    """FP32 becomes FP16."""

    name: ClassVar[str] = "float16"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """Stored in half precision; then worked in it, too.

        Raises:
            NotImplementedError: The graph has next to no weights in FP32.
        """
        del rows
        bare = folded(model)
        sizes = [one for one in constants_of(bare).values() if one.data_type == TensorProto.FLOAT]
        if sum(_size(one) for one in sizes) < MIN_WEIGHTS:
            raise NotImplementedError("no weights in FP32")
        yield ModelForm("float16 weights", lambda: _stored(bare))
        yield ModelForm("float16", lambda: _narrowed(bare))


def _stored(model: ModelProto) -> ModelProto:
    """A copy whose weights lie in half precision and are widened when the graph is loaded."""
    copy = copied(model)
    casts: list[NodeProto] = []
    for one in copy.graph.initializer:
        if one.data_type != TensorProto.FLOAT or _size(one) < MIN_WEIGHTS:
            continue
        values = numpy_helper.to_array(one)
        if float(np.abs(values).max()) > MOST:
            continue
        name = one.name
        one.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    insert(copy.graph, 0, casts)
    return copy


def _narrowed(model: ModelProto) -> ModelProto:
    found: ModelProto = convert_float_to_float16(model, keep_io_types=True)
    drop_unused_sets(found)
    return found


def _size(constant: TensorProto) -> int:
    """Numbers in it."""
    size = 1
    for dimension in constant.dims:
        size *= dimension
    return size
