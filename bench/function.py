"""The cold start of a function: import, load, first answer; beside FastAPI with ONNX Runtime, called without a socket.

    python -m bench.function [N]

Takes the environments ``.venv/functions`` and ``.venv/peers/fastapi``. N processes each (9), in turn, the small model
of the tables, one row.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

from bench.models import Model, make_model
from bench.places import ROOT

PARTS = ("import", "load", "first answer", "all of it", "the process")
OURS = """
import time; begun = time.perf_counter()
import sys
from pathlib import Path
from penstock.serve.functions.aws_lambda import open_function
imported = time.perf_counter()
function = open_function(Path())
loaded = time.perf_counter()
event = {"version": "2.0", "rawPath": "/v1/models/small:predict", "rawQueryString": "", "headers": {},
         "requestContext": {"http": {"method": "POST"}}, "body": sys.argv[2]}
assert function(event)["statusCode"] == 200
answered = time.perf_counter()
print(imported - begun, loaded - imported, answered - loaded, answered - begun)
"""
PEER = """
import time; begun = time.perf_counter()
import asyncio, sys
import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel
imported = time.perf_counter()
app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
feed = session.get_inputs()[0].name
class Rows(BaseModel):
    instances: list[list[float]]
class Answer(BaseModel):
    label: list[int]
    probabilities: list[list[float]]
@app.post("/predict")
async def predict(rows: Rows) -> Answer:
    label, probabilities = session.run(None, {feed: np.array(rows.instances, np.float32)})
    return Answer(label=label.tolist(), probabilities=probabilities.tolist())
loaded = time.perf_counter()
async def ask():
    sent = []
    async def receive():
        return {"type": "http.request", "body": sys.argv[2].encode(), "more_body": False}
    async def send(message):
        sent.append(message)
    await app({"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"",
               "headers": [(b"content-type", b"application/json")], "http_version": "1.1", "scheme": "http",
               "server": ("here", 80), "client": ("there", 1), "asgi": {"version": "3.0"}}, receive, send)
    assert sent[0]["status"] == 200
asyncio.run(ask())
answered = time.perf_counter()
print(imported - begun, loaded - imported, answered - loaded, answered - begun)
"""


def run(environment: str, code: str, model: Model) -> list[float]:
    """One process; its parts in seconds."""
    python = ROOT / ".venv" / environment / "bin" / "python"
    row = json.dumps({"instances": [model.rows[0].tolist()]})
    variables = {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    begun = time.perf_counter()
    done = subprocess.run(
        [python, "-c", code, str(model.onnx), row],
        env={**os.environ, **variables, "PENSTOCK_PACKAGE": str(model.package.folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [*map(float, done.stdout.split()), time.perf_counter() - begun]


def main(times: int) -> None:
    model = make_model("trees")
    found: dict[str, list[list[float]]] = {"penstock": [], "fastapi": []}
    for _ in range(times + 1):
        found["penstock"].append(run("functions", OURS, model))
        found["fastapi"].append(run("peers/fastapi", PEER, model))
    for name, runs in found.items():
        columns = zip(PARTS, zip(*runs[1:], strict=True), strict=True)  # the first one compiled
        told = [f"{part} {statistics.median(one) * 1e3:.0f} ({min(one) * 1e3:.0f})" for part, one in columns]
        print(f"{name}, ms, median (least) of {times}: {', '.join(told)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
