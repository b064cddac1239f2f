"""A TorchScript as Triton's clients know it: its inputs and outputs by the names and sizes of a configuration.

Comes in: a loaded script and what is said of it. Goes out: a `TorchModel` that is asked by those names. A script does
not name its outputs, and says nothing of types; which input is which is Triton's convention: by the names of
``forward``'s parameters, by ``NAME__0``, ``NAME__1``, else by order. Source: Triton's pytorch_backend, README.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from penstock.runtime.outerform import OuterForm, OuterTensor, refuse, require_fit, sizes_after
from penstock.runtime.torchmodel import Tensors, TorchModel, by_name, of_module
from penstock.tensors import Arrays, TensorSpec, datatype_of

_PLACE = re.compile(r".*__(\d{1,4})", re.DOTALL)


class OuterTorch(TorchModel):
    """A script that is asked from outside.

    Args:
        torch: The library.
        script: The script.
        form: What is said of it.

    Raises:
        InvalidInput: It says nothing of inputs or outputs, or not of as many inputs as the script has.
    """

    def __init__(self, torch: ModuleType, script: Any, form: OuterForm) -> None:
        if not form.inputs or not form.outputs:
            refuse("a script does not say what it takes and answers: name its inputs and outputs")
        own = of_module(torch, script)
        given = places(form.inputs, (*own.needs, *own.takes))
        if sorted(given) != list(range(len(given))) or len(given) < len(own.needs):
            refuse(f"the script's inputs are {', '.join((*own.needs, *own.takes))[:200]}")
        made = places(form.outputs, ())

        def forward(itself: Any, *tensors: Any) -> tuple[Any, ...]:
            inner = [None] * len(tensors)
            for one, place, tensor in zip(form.inputs, given, tensors, strict=True):
                inner[place] = _turned(tensor, one.shape, one.within)
            answers = by_name(itself.script(*inner))
            return tuple(
                _turned(_answer(answers, one.name, place), one.within, one.shape)
                for one, place in zip(form.outputs, made, strict=True)
            )

        module = type("Outer", (torch.nn.Module,), {"forward": forward})().eval()
        module.script = script  # what a trace may call
        names = [one.name for one in form.inputs]

        def ask(tensors: Tensors) -> Tensors:
            answered = module(*(tensors[name] for name in names))
            return {one.name: tensor for one, tensor in zip(form.outputs, answered, strict=True)}

        super().__init__(torch, ask, tuple(names))
        self.module, self.form = module, form
        self.specs = tuple(TensorSpec(name=one.name, datatype=one.datatype, shape=one.shape) for one in form.inputs)

    def _told(self, named: Arrays) -> Arrays:
        """Under the names that are said, if they are of the types and sizes that are said."""
        assert self.form is not None
        seen = {name: (datatype_of(array.dtype), (-1, *array.shape[1:])) for name, array in named.items()}
        outside = tuple(
            OuterTensor(name=one.name, datatype=one.datatype, shape=one.shape, within=one.shape)
            for one in self.form.outputs
        )
        require_fit(outside, seen)
        return self.form.with_label(named)


def places(said: Sequence[OuterTensor], parameters: Sequence[str]) -> list[int]:
    """The place of each input or output in the script's own order."""
    names = [one.name for one in said]
    if set(names) <= set(parameters):
        return [parameters.index(name) for name in names]
    numbered = [_PLACE.fullmatch(name) for name in names]
    found = [int(one[1]) for one in numbered if one is not None]
    return found if len(found) == len(names) else list(range(len(names)))


def _answer(answers: Mapping[str, Any], name: str, place: int) -> Any:
    """Of a dict by its key, else by its place."""
    if name in answers:
        return answers[name]
    if place >= len(answers):
        refuse(f"the model answers {len(answers)} tensors, and {name[:80]} is another one")
    return list(answers.values())[place]


def _turned(tensor: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
    """A tensor with the sizes of the other side."""
    if before == after:
        return tensor
    if tensor.dim() != len(before) or any(
        said not in (-1, int(size)) for said, size in zip(before, tensor.shape, strict=True)
    ):
        refuse(f"a tensor has the sizes {list(before)} there and {list(map(int, tensor.shape))} in the model")
    return tensor.reshape(sizes_after(list(tensor.shape), before, after))
