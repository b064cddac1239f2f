"""The usual hand-made service, to compare with: FastAPI + pydantic + ONNX Runtime under uvicorn, one process.

Comes in: the ONNX file's path in BENCH_MODEL. It checks, records and counts nothing.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Rows(BaseModel):
    inputs: list[list[float]]


class Answer(BaseModel):
    label: list[int]
    probabilities: list[list[float]]


@app.post("/predict")
async def predict(rows: Rows) -> Answer:
    label, probabilities = session.run(["label", "probabilities"], {"X": np.array(rows.inputs, np.float32)})
    return Answer(label=label.tolist(), probabilities=probabilities.tolist())
