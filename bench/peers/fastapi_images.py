"""FastAPI + ONNX Runtime over images: raw bytes in and out, and V2 JSON by pydantic."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from session import open_session

app = FastAPI()
session = open_session()


class Tensor(BaseModel):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Tensors(BaseModel):
    """What comes in as JSON."""

    inputs: list[Tensor]


@app.post("/raw")
async def raw(request: Request) -> Response:
    """Bytes in, bytes out."""
    images = np.frombuffer(await request.body(), np.float32).reshape(-1, 3, 224, 224)
    answers = session.run(["prediction"], {"input": images})[0]
    return Response(answers.tobytes(), media_type="application/octet-stream")


@app.post("/v2/models/small/infer")
async def infer(tensors: Tensors) -> dict[str, list[dict[str, object]]]:
    """JSON in, JSON out."""
    given = tensors.inputs[0]
    answers = session.run(["prediction"], {"input": np.array(given.data, np.float32).reshape(given.shape)})[0]
    output = {"name": "prediction", "shape": answers.shape, "datatype": "FP32", "data": answers.ravel().tolist()}
    return {"outputs": [output]}
