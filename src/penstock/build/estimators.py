"""A scikit-learn style model as an `Original`: what pickles, skops files and boosters become once loaded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from penstock.build.compile import candidates
from penstock.build.fidelity import require_faithful
from penstock.build.format import Compiled, Specs
from penstock.build.schema import infer_inputs
from penstock.build.trees.thresholds import threshold_rows
from penstock.runtime.original import answer, is_classifier
from penstock.tensors import Arrays


class EstimatorModel:
    """A fitted estimator or pipeline.

    Attributes:
        estimator: The loaded object.
    """

    def __init__(self, estimator: object) -> None:
        self.estimator = estimator

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
        """In double precision, then in single."""
        return candidates(self.estimator, inputs, outputs)

    def edges(self, inputs: Specs, rows: Arrays) -> Arrays | None:
        """Rows around the splits of its trees."""
        return threshold_rows(self.estimator, inputs, rows)
