"""Give classes other names."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from penstock.errors import InvalidInput
from penstock.runtime.transform import WHERE, Classes, class_place, label_array, label_codes
from penstock.tensors import Array, Arrays


class LabelsStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Labels as people say them.

    Attributes:
        names: Class as text -> its new name; a class that is not among them keeps its own. One that already has its
            new name, as after a retraining on outcomes, is passed over.
        learned: The classes as they are before it.
    """

    bare: ClassVar[str] = "names"
    names: dict[str, str | int]
    learned: Classes = ()

    def learn(self, answers: Arrays, classes: Classes, truth: Array | None) -> LabelsStep:
        """Which classes there are.

        Raises:
            InvalidInput: There is no such class, or two would have one name.
        """
        del truth
        if "label" not in answers or not classes:
            raise InvalidInput(
                "the model answers no label to name", "only a classifier has labels", where=f"{WHERE}.labels"
            )
        before = [str(one) for one in classes]
        for name, new in self.names.items():
            if str(new) not in before:
                class_place(classes, name, "labels")
        now = [str(one) for one in self.classes_after(classes)]
        moved = [one for at, one in enumerate(now) if one in before and before.index(one) != at]
        if moved or len(set(now)) < len(now):
            raise InvalidInput(
                "two classes would have one name, or one the name that another had",
                "give each a name that none has or had: data and outcomes may use either",
                where=f"{WHERE}.labels",
            )
        return msgspec.structs.replace(self, learned=classes)

    def apply(self, answers: Arrays) -> Arrays:
        """Another label."""
        return {**answers, "label": self.labels[label_codes(self.learned, answers["label"])]}

    @property
    def labels(self) -> Array:
        """New names in the order of the classes."""
        return label_array(self.classes_after(self.learned))

    def classes_after(self, classes: Classes) -> Classes:
        """By their new names."""
        named = [self.names.get(str(one), one) for one in classes]
        whole = all(isinstance(one, int) for one in named)
        return tuple(int(one) if whole else str(one) for one in named)
