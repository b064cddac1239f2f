"""BentoML: a service class, its own process for the API server."""

from __future__ import annotations

import os

import bentoml
import numpy as np
from session import open_session

QUIET = {"metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}}


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]), **QUIET)
class Trees:
    """Answers rows."""

    def __init__(self) -> None:
        self.session = open_session()

    @bentoml.api
    async def predict(self, inputs: list[list[float]]) -> dict:
        """Answer rows."""
        label, probabilities = self.session.run(["label", "probabilities"], {"X": np.array(inputs, np.float32)})
        return {"label": label.tolist(), "probabilities": probabilities.tolist()}
