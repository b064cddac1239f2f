"""A person's ``torch.nn.Module`` in an environment of its own, as an `Original`: what it takes is told from rows here.

Comes in: what it says of itself, and a way to ask it. Goes out: the same `TorchOriginal` as for one that is loaded
here, but for its graph: nothing of it is here that could be compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from penstock.build.format import Compiled, Specs
from penstock.build.torch.model import TorchOriginal
from penstock.runtime.interview import SelfPortrait
from penstock.runtime.torchmodel import TorchModel
from penstock.tensors import Arrays, TensorSpec, datatype_of


class DistantModule:
    """Stands here for a module that is in its environment, with what a `TorchModel` says of itself.

    Attributes:
        needs: Names of the inputs that have to be given.
        takes: Names of those that may be.
        wide: It computes in doubles.
        labels: Of its classes; empty where it names none.
        specs: Empty: rows tell what it takes.
        program: None.
        form: None.
    """

    def __init__(self, portrait: SelfPortrait, ask: Callable[[Specs, Arrays], Arrays]) -> None:
        self.needs, self.takes, self.wide = portrait.needs, portrait.takes, portrait.wide
        self.labels = portrait.classes or ()
        self.specs: Specs = ()
        self.program = None
        self.form = None
        self._ask = ask

    def answer_arrays(self, arrays: Arrays) -> Arrays:
        """What it says to rows.

        Raises:
            Exception: It raised.
            PenstockError: It answered what no package can, died, or took too long.
        """
        specs = tuple(
            TensorSpec(name=name, datatype=datatype_of(array.dtype), shape=(-1, *array.shape[1:]))
            for name, array in arrays.items()
        )
        return self._ask(specs, arrays)


class DistantTorch(TorchOriginal):
    """A `DistantModule` as an `Original`."""

    def __init__(self, portrait: SelfPortrait, ask: Callable[[Specs, Arrays], Arrays]) -> None:
        # It has all that inputs and answers are told from.
        super().__init__(cast("TorchModel", DistantModule(portrait, ask)))

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """None."""
        del inputs, outputs
        return iter(())
