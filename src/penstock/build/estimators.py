"""A scikit-learn style model as an `Original`: what pickles, skops files and boosters become once loaded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from penstock.build.compile import candidates, final_step
from penstock.build.fidelity import require_faithful
from penstock.build.format import Compiled, Specs
from penstock.build.reasons import TooLargeToCompile
from penstock.build.schema import infer_inputs
from penstock.build.strides import megabytes
from penstock.build.trees.estimators import bytes_of_trees
from penstock.build.trees.thresholds import threshold_rows
from penstock.runtime.original import answer, is_classifier
from penstock.tensors import Arrays

MOST_COMPILED_BYTES = 96 << 20
"""Converters hold each node of a tree as a dozen Python objects; the sandbox ends at four gibibytes."""


class EstimatorModel:
    """A fitted estimator or pipeline.

    Attributes:
        estimator: The loaded object.

    Args:
        estimator: The loaded object.
        size_bytes: Length of its file; 0 where that tells nothing.
        most_compiled_bytes: A larger one stays as it is.
    """

    def __init__(
        self, estimator: object, *, size_bytes: int = 0, most_compiled_bytes: int = MOST_COMPILED_BYTES
    ) -> None:
        self.estimator = estimator
        self._size = max(size_bytes, bytes_of_trees(final_step(estimator)))
        self._most = most_compiled_bytes

    @property
    def classes(self) -> tuple[str | int | bool, ...]:
        """Class labels in the order of the probabilities."""
        if not is_classifier(self.estimator):
            return ()
        known = np.asarray(getattr(self.estimator, "classes_", ()))
        whole = known.dtype.kind == "f" and bool(np.all(known == np.round(known)))
        values = known.astype(np.int64) if whole else known
        return tuple(one if isinstance(one, str | int | bool) else str(one) for one in values.tolist())

    def inputs(self, frame: pd.DataFrame | None) -> Specs:
        """One input a column, or one matrix; refuses data that would mean something else as arrays."""
        inputs = infer_inputs(self.estimator, frame)
        if frame is not None:
            require_faithful(self.estimator, inputs, frame)
        return inputs

    def answer(self, inputs: Specs, rows: Arrays) -> Arrays:
        """What the estimator says."""
        return answer(self.estimator, inputs, rows)

    def graphs(self, inputs: Specs, outputs: Specs) -> Iterator[Compiled]:
        """In double precision, then in single; none of what is too large to try."""
        return iter((self._refuse,)) if self._size > self._most else candidates(self.estimator, inputs, outputs)

    def edges(self, inputs: Specs, rows: Arrays) -> Arrays | None:
        """Rows around the splits of its trees; none where no graph will be compared on them."""
        return None if self._size > self._most else threshold_rows(self.estimator, inputs, rows)

    def _refuse(self) -> bytes:
        raise TooLargeToCompile(
            f"it has {megabytes(self._size)}, and of more than {megabytes(self._most)} a converter needs more memory"
            " than the sandbox has; fewer or shallower trees would compile"
        )
