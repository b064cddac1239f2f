"""KServe's Python model server with the models of `columns`; V2 over REST and gRPC."""

from __future__ import annotations

import sys

import kserve
import numpy as np
from columns import SPECS, answer, tensors


class Columns(kserve.Model):
    """Answers V2 requests; the metadata are its own."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    def get_input_types(self) -> list[dict]:
        """What goes in."""
        return tensors(SPECS[self.name][0])

    def get_output_types(self) -> list[dict]:
        """What comes out."""
        return tensors(SPECS[self.name][1])

    async def predict(
        self, payload: kserve.InferRequest, headers: dict | None = None, response_headers: dict | None = None
    ) -> kserve.InferResponse:
        """Answer rows."""
        given = {}
        for one in payload.inputs:
            array = one.as_numpy()
            given[one.name] = np.vectorize(text, otypes=[object])(array) if one.datatype == "BYTES" else array
        outputs = []
        wanted = [one.name for one in payload.request_outputs or []]
        for name, datatype, _ in SPECS[self.name][1]:
            if wanted and name not in wanted:
                continue
            array = answer(self.name, given)[name]
            output = kserve.InferOutput(name=name, shape=list(array.shape), datatype=datatype)
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(response_id=payload.id or "1", model_name=self.name, infer_outputs=outputs)


def text(value: bytes | str) -> str:
    """A text, however it came."""
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    name, port = sys.argv[1], int(sys.argv[2])
    server = kserve.ModelServer(http_port=port, grpc_port=port + 1, workers=1, access_log_format=None)
    server.start([Columns(name)])
