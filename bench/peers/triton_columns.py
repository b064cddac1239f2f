"""Triton's python backend with the models of `columns`."""

from __future__ import annotations

import os
import sys

sys.path[:0] = [os.environ["BENCH_SITE"], os.environ["BENCH_PEERS"]]

import numpy as np
import triton_python_backend_utils as triton
from columns import SPECS, answer


class TritonPythonModel:
    """Answers one request after the other."""

    def initialize(self, args: dict) -> None:
        """Once an instance."""
        self.name = args["model_name"]

    def execute(self, requests: list) -> list:
        """All that came together."""
        responses = []
        for request in requests:
            given = {}
            for name, datatype, _ in SPECS[self.name][0]:
                array = triton.get_input_tensor_by_name(request, name).as_numpy()
                given[name] = np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" else array
            answers = answer(self.name, given)
            wanted = request.requested_output_names()
            tensors = [triton.Tensor(name, answers[name]) for name in answers if name in wanted]
            responses.append(triton.InferenceResponse(tensors))
        return responses
