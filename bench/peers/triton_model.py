"""Triton's python backend: its wheel has no other that runs a graph."""

from __future__ import annotations

import os
import sys

sys.path[:0] = [os.environ["BENCH_SITE"], os.environ["BENCH_PEERS"]]

import numpy as np
import triton_python_backend_utils as triton
from session import open_session


class TritonPythonModel:
    """Answers the requests that Triton batched."""

    def initialize(self, args: dict) -> None:
        """Once an instance."""
        self.session = open_session()
        self.input = self.session.get_inputs()[0].name
        self.outputs = [one.name for one in self.session.get_outputs()]

    def execute(self, requests: list) -> list:
        """All of them in one run."""
        parts = [triton.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        answer = self.session.run(self.outputs, {self.input: rows})[-1]
        responses, start = [], 0
        for part in parts:
            tensor = triton.Tensor(self.outputs[-1], answer[start : start + len(part)])
            responses.append(triton.InferenceResponse([tensor]))
            start += len(part)
        return responses
