"""Say which outputs an answer has, under which names, in which order."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, Classes, class_place, nearest, require_probabilities
from penstock.tensors import Array, Arrays

ESSENTIAL = ("label", "prediction")
"""Gate, monitors and outcomes read these, so they are never left out."""


class Chance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probability of one class, one number a row."""

    probability: str


class AnswerStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A structured answer; the last step.

    Attributes:
        outputs: Name -> the output that it is, or ``{probability: CLASS}``. ``label`` or ``prediction`` is kept behind
            them where it has no place among them.
        learned: The classes as they are before it.
    """

    bare: ClassVar[str] = "outputs"
    outputs: dict[str, str | Chance]
    learned: Classes = ()

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> AnswerStep:
        """Which classes there are.

        Raises:
            InvalidInput: There is no such output or class, or a name means something else everywhere.
        """
        del truth
        for name, source in self.outputs.items():
            if isinstance(source, Chance):
                require_probabilities(answers, classes, "answer")
                class_place(classes, source.probability, "answer")
            elif source not in answers:
                raise InvalidInput(
                    f"the model has no output {source} to answer with",
                    nearest(source, list(answers), "outputs"),
                    where=f"{WHERE}.answer",
                )
            if name in ("label", "probabilities", "scores", "prediction") and source != name:
                raise InvalidInput(
                    f"{name} means one thing in every package, and here it would be another",
                    "give the output another name",
                    where=f"{WHERE}.answer",
                )
        if not self.outputs:
            raise InvalidInput("an answer without outputs", "name some", where=f"{WHERE}.answer")
        return msgspec.structs.replace(self, learned=classes)

    def apply(self, answers: Arrays) -> Arrays:
        """These outputs, and what is essential."""
        done: Arrays = {}
        for name, source in self.outputs.items():
            if isinstance(source, Chance):
                done[name] = answers["probabilities"][:, self.place(source)].astype(np.float32)
            else:
                done[name] = answers[source]
        return done | {name: answers[name] for name in ESSENTIAL if name in answers and name not in done}

    def place(self, chance: Chance) -> int:
        """Which column of the probabilities."""
        return [str(one) for one in self.learned].index(chance.probability)

    def classes_after(self, classes: Classes) -> Classes:
        """The same."""
        return classes
