"""FastAPI + pydantic over a row of named columns, ten numbers and five texts, and the same fused graph."""

from __future__ import annotations

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from session import open_session

app = FastAPI()
session = open_session()


class Row(BaseModel):
    """What comes in."""

    number_0: float
    number_1: float
    number_2: float
    number_3: float
    number_4: float
    number_5: float
    number_6: float
    number_7: float
    number_8: float
    number_9: float
    text_0: str
    text_1: str
    text_2: str
    text_3: str
    text_4: str


class Answer(BaseModel):
    """What goes out."""

    label: int
    probabilities: list[float]


@app.post("/predict")
async def predict(row: Row) -> Answer:
    """Answer one row."""
    inputs = {name: np.array([[value]], object if type(value) is str else np.float64) for name, value in row}
    label, probabilities = session.run(["label", "probabilities"], inputs)
    return Answer(label=int(label[0]), probabilities=probabilities[0].tolist())
