"""The usual hand-made service: FastAPI + pydantic + ONNX Runtime under uvicorn; the baseline of the tables."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from session import open_session

app = FastAPI()
session = open_session()


class Rows(BaseModel):
    """What comes in."""

    inputs: list[list[float]]


class Answer(BaseModel):
    """What goes out."""

    label: list[int]
    probabilities: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> Answer:
    """Answer rows."""
    label, probabilities = session.run(["label", "probabilities"], {"X": np.array(rows.inputs, np.float32)})
    return Answer(label=label.tolist(), probabilities=probabilities.tolist())
