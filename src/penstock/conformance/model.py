"""The model that the conformance kit asks for, as its server's own metadata describe it.

Comes in: the JSON of ``GET /v2/models/M`` or the message of ModelMetadata. Goes out: inputs and outputs by name. A
server that describes a model wrongly is told so by the cases on metadata; what cannot be read here is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from penstock.tensors import DTYPES, TensorSpec

NOT_IN_JSON = frozenset({"FP16", "BF16"})
"""Datatypes for which JSON has no form that servers agree on (required_api.md, Tensor Data)."""


class ModelUnderTest(NamedTuple):
    """What its server says about it.

    Attributes:
        name: As it is asked for.
        versions: Those that may be asked for.
        inputs: In the server's order.
        outputs: In the server's order.
        rows: The first dimension of every input and output is a free one, and stands for rows.
    """

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows: bool

    @property
    def askable(self) -> bool:
        """Whether requests can be made for it: inputs are named, and their datatypes known."""
        return bool(self.inputs) and all(spec.datatype in DTYPES for spec in self.inputs)

    @property
    def in_json(self) -> bool:
        """Whether all of it can be said in JSON."""
        return not any(spec.datatype in NOT_IN_JSON for spec in (*self.inputs, *self.outputs))


def read_model(name: str, said: object, *, rows: bool = True) -> ModelUnderTest:
    """The model behind metadata.

    Args:
        name: As it is asked for, whatever the metadata say.
        said: JSON or message; anything.
        rows: False where the caller knows that the first dimension does not stand for rows.
    """
    fields = said if isinstance(said, Mapping) else {}
    inputs, outputs = _specs(fields.get("inputs")), _specs(fields.get("outputs"))
    versions = fields.get("versions")
    free = all(spec.shape and spec.shape[0] == -1 for spec in (*inputs, *outputs))
    return ModelUnderTest(
        name,
        tuple(one for one in versions if isinstance(one, str)) if isinstance(versions, list) else (),
        inputs,
        outputs,
        rows and free and bool(inputs),
    )


def _specs(said: object) -> tuple[TensorSpec, ...]:
    found: list[TensorSpec] = []
    for one in said if isinstance(said, list) else []:
        name, datatype = (one.get("name"), one.get("datatype")) if isinstance(one, Mapping) else (None, None)
        shape = one.get("shape") if isinstance(one, Mapping) else None
        if isinstance(name, str) and isinstance(datatype, str) and isinstance(shape, list):
            found.append(TensorSpec(name=name, datatype=datatype, shape=tuple(_size(size) for size in shape)))
    return tuple(found)


def _size(said: object) -> int:
    """A dimension; messages say whole numbers of 64 bits as text."""
    try:
        return int(said) if isinstance(said, int | str) else -1
    except ValueError:
        return -1
