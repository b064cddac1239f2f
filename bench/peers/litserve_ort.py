"""LitServe: a FastAPI front, a queue, and worker processes."""

from __future__ import annotations

import os
import sys

import litserve
import numpy as np
from session import open_session


class Trees(litserve.LitAPI):
    """Answers rows."""

    def setup(self, device: str) -> None:
        """Once a worker."""
        self.session = open_session()

    def decode_request(self, request: dict) -> np.ndarray:
        """JSON to an array."""
        return np.array(request["inputs"], np.float32)

    def predict(self, x: np.ndarray) -> list[np.ndarray]:
        """Answer rows."""
        return self.session.run(["label", "probabilities"], {"X": x})

    def encode_response(self, output: list[np.ndarray]) -> dict:
        """Arrays to JSON."""
        return {"label": output[0].tolist(), "probabilities": output[1].tolist()}


if __name__ == "__main__":
    workers = int(os.environ["BENCH_WORKERS"])
    server = litserve.LitServer(Trees(), accelerator="cpu", workers_per_device=workers, fast_queue=True)
    port = int(sys.argv[1])
    server.run(port=port, host="127.0.0.1", num_api_servers=1, log_level="warning", generate_client_file=False)
