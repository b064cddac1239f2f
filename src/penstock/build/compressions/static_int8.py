"""Weights and the numbers between layers as 8-bit integers, their scales fixed on calibration rows.

    graph -> fold -> run the rows, note each tensor's range -> QuantizeLinear, DequantizeLinear around heavy operators

Weights keep to 7 bits: on x86 processors without VNNI two products of 8 bits overflow 16, and the graph would answer
otherwise there. Scales do not hang on what else is in a batch, so a row's answer does not either.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from penstock.build.compression import OPSET, ModelForm, drop_unused_sets, folded, opset_of
from penstock.build.schema import row_count, take
from penstock.tensors import Arrays

HEAVY = frozenset({"Conv", "MatMul", "Gemm"})
BETWEEN = ("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Add")
"""Between heavy operators, these can stay in integers too. None of them is the one that makes probabilities."""
BATCH = 32


class StaticInt8:
    """Integers with fixed scales."""

    name: ClassVar[str] = "static_int8"

    def forms(self, model: ModelProto, rows: Arrays) -> Iterator[ModelForm]:
        """All that can be; then the heavy operators alone.

        Raises:
            NotImplementedError: The graph has no such operator, or its operators are too old.
        """
        bare = folded(model)
        there = {node.op_type for node in bare.graph.node}
        if not there & HEAVY:
            raise NotImplementedError("no convolution and no product with a matrix")
        if opset_of(bare) < OPSET:
            raise NotImplementedError(f"its operators are older than set {OPSET}")
        yield ModelForm("static int8, heavy operators", lambda: _quantized(bare, rows, sorted(HEAVY)))
        if there & set(BETWEEN):
            yield ModelForm("static int8", lambda: _quantized(bare, rows, sorted({*HEAVY, *BETWEEN})))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """The rows, some at a time."""

    def __init__(self, rows: Arrays) -> None:
        starts = range(0, row_count(rows), BATCH)
        self._parts = iter([take(rows, slice(start, start + BATCH)) for start in starts])

    def get_next(self) -> Arrays | None:
        """The next part; None after the last."""
        return next(self._parts, None)


def _quantized(model: ModelProto, rows: Arrays, kinds: list[str]) -> ModelProto:
    """The graph with its ranges measured and its weights rounded."""
    with TemporaryDirectory() as place:
        source, result = Path(place) / "float.onnx", Path(place) / "int8.onnx"
        onnx.save_model(model, source)
        quantize_static(
            source,
            result,
            _Reader(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # What comes after the last product decides between labels: it keeps its width.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        )
        found = onnx.load_model(result)
    drop_unused_sets(found)
    return found
