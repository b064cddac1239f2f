"""MLServer's custom runtime with the models of `columns`; inputs and outputs are stated in its settings."""

from __future__ import annotations

import os
import sys

sys.path.append(os.environ["BENCH_PEERS"])

import numpy as np
from columns import answer
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Columns(MLModel):
    """Answers V2 requests."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer rows."""
        given = {}
        for one in payload.inputs:
            if one.datatype == "BYTES":
                given[one.name] = np.array(StringCodec.decode_input(one), object).reshape(one.shape)
            else:
                given[one.name] = NumpyCodec.decode_input(one)
        outputs = []
        wanted = [one.name for one in payload.outputs or []]
        for name, array in answer(self.name, given).items():
            if wanted and name not in wanted:
                continue
            if array.dtype == object:
                outputs.append(StringCodec.encode_output(name, array.ravel().tolist()))
            else:
                outputs.append(NumpyCodec.encode_output(name, array))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
