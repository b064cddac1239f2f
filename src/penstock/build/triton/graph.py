"""Is a graph what Triton's configuration says of it? Names, types and sizes, the batch included.

What comes in: a graph and its `TritonConfig`. What goes out: the names of the outputs that its clients ask for, in the
order of the configuration, or a refusal that names what differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from onnx import ModelProto, ValueInfoProto

from penstock.build.graphs.model import real_inputs
from penstock.build.graphs.surgery import TYPES
from penstock.build.triton.repository import CONFIG, TritonConfig, TritonTensor
from penstock.errors import InvalidInput


def hold_to(model: ModelProto, config: TritonConfig) -> tuple[str, ...]:
    """Compare a graph with its configuration.

    Returns:
        Names of the outputs to keep: those of the configuration, all of the graph where it names none.

    Raises:
        InvalidInput: They differ, or the graph's first dimension is no batch.
    """
    inputs = {value.name: value for value in real_inputs(model)}
    outputs = {value.name: value for value in model.graph.output}
    for value in (*inputs.values(), *outputs.values()):
        _require_batch(value)
    if config.inputs and {one.name for one in config.inputs} != set(inputs):
        _refuse(f"the graph's inputs are {', '.join(sorted(inputs))[:200]}")
    _hold_all(config.inputs, inputs, config)
    _hold_all(config.outputs, outputs, config)
    return tuple(one.name for one in config.outputs) or tuple(outputs)


def _hold_all(said: Sequence[TritonTensor], there: Mapping[str, ValueInfoProto], config: TritonConfig) -> None:
    for one in said:
        value = there.get(one.name)
        if value is None:
            _refuse(f"the graph has no {one.name[:80]}")
        if TYPES.get(one.datatype) != value.type.tensor_type.elem_type:
            _refuse(f"{one.name[:80]} is {one.datatype} there and of another type in the graph")
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in value.type.tensor_type.shape.dim)
        wanted = (-1, *one.dims) if config.max_batch_size else one.dims
        alike = all(-1 in pair or pair[0] == pair[1] for pair in zip(wanted, shape, strict=False))
        if len(wanted) != len(shape) or not alike:
            _refuse(f"{one.name[:80]} has the sizes {list(wanted)} there and {list(shape)} in the graph")


def _require_batch(value: ValueInfoProto) -> None:
    """Rows stand along the first dimension, as many as are asked."""
    dims = value.type.tensor_type.shape.dim
    if not dims or dims[0].HasField("dim_value"):
        raise InvalidInput(
            "the graph takes no batch of any size: its first dimension is fixed, or there is none",
            "export it with a dynamic batch dimension",
            where=value.name[:80],
            code="build.fixed_batch",
        )


def _refuse(what: str) -> NoReturn:
    raise InvalidInput(
        f"Triton's configuration is not of this graph: {what}", "correct one of them", where=CONFIG, code="build.triton"
    )
