"""`linear_package` of the tests as a model of Triton's python backend."""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.environ["TRITON_SITE"])

import numpy as np
import triton_python_backend_utils as triton


class TritonPythonModel:
    """A logistic regression over four numbers."""

    def execute(self, requests: list) -> list:
        """Each request by itself."""
        return [self._answer(triton.get_input_tensor_by_name(request, "X").as_numpy()) for request in requests]

    def _answer(self, rows: np.ndarray) -> triton.InferenceResponse:
        one = 1 / (1 + np.exp(-(rows @ (np.arange(1, 5, dtype=np.float32) / 10))))
        both = np.stack([1 - one, one], axis=1).astype(np.float32)
        labels = both.argmax(axis=1).astype(np.int64).reshape(-1, 1)
        return triton.InferenceResponse([triton.Tensor("label", labels), triton.Tensor("probabilities", both)])
