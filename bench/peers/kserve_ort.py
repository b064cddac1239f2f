"""KServe's Python model server with a custom model; V2 JSON. It listens on all addresses: it has no switch."""

from __future__ import annotations

import os
import sys

import kserve
import numpy as np
from session import open_session


class Trees(kserve.Model):
    """Answers V2 requests."""

    def __init__(self) -> None:
        super().__init__("small")
        self.session = open_session()
        self.ready = True

    async def predict(
        self, payload: kserve.InferRequest, headers: dict | None = None, response_headers: dict | None = None
    ) -> kserve.InferResponse:
        """Answer rows."""
        rows = payload.inputs[0].as_numpy().astype(np.float32, copy=False)
        probabilities = self.session.run(["label", "probabilities"], {"X": rows})[1]
        output = kserve.InferOutput(name="probabilities", shape=list(probabilities.shape), datatype="FP32")
        output.set_data_from_numpy(probabilities, binary_data=False)
        return kserve.InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    port, workers = int(sys.argv[1]), int(os.environ["BENCH_WORKERS"])
    kserve.ModelServer(http_port=port, workers=workers, enable_grpc=False, access_log_format=None).start([Trees()])
