"""Models that are more than a file: one's own class, an MLflow folder, a TorchServe archive, a Triton repository."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.kinds.kind import Brought, Kind
from bench.kinds.scikit import said
from bench.kinds.tables import ASKED, TRAINED, flights, numbers
from bench.places import ROOT

CLASS = '''
import json
import numpy as np

class Rule:
    """Late where a rule of thumb says so; the thumb is in a file beside it."""

    classes_ = ["late", "on time"]

    def load(self, folder):
        self.thumb = json.loads((folder / "thumb.json").read_text())

    def predict(self, rows):
        score = sum(rows[name] * weight for name, weight in self.thumb.items())
        return {"label": np.where(score > 0, "late", "on time"), "probabilities": _sure(score.to_numpy(float))}

def _sure(score):
    late = 1 / (1 + np.exp(-score / 100))
    return np.stack([late, 1 - late], axis=1)
'''
THUMB = {"delay": 2.0, "distance": -0.01, "hour": 0.5}
HANDLER = """
import json, os, pickle

class Handler:
    def initialize(self, context):
        with open(os.path.join(context.system_properties["model_dir"], "model.pkl"), "rb") as file:
            self.model = pickle.load(file)

    def handle(self, data, context):
        rows = [json.loads(one.get("body", one.get("data"))) for one in data]
        return [str(label) for label in self.model.predict([row["row"] for row in rows])]
"""
LOG = """
import sys
sys.path.append({site!r})
import joblib, mlflow.sklearn
from mlflow.models import infer_signature
model, rows = joblib.load({folder!r} + "/trained.joblib")
mlflow.sklearn.save_model(model, {folder!r} + "/logged", signature=infer_signature(rows, model.predict(rows)),
    input_example=rows.head(50), pip_requirements=["scikit-learn"])
"""
CONFIG = """
name: "lateness"
platform: "onnxruntime_onnx"
max_batch_size: 1024
input [{ name: "X", data_type: TYPE_FP32, dims: [ 3 ] }]
output [{ name: "label", data_type: TYPE_STRING, dims: [ 1 ], reshape: { shape: [ ] } },
  { name: "probabilities", data_type: TYPE_FP32, dims: [ 2 ] }]
"""


def _own_class(folder: Path) -> Brought:
    place = folder / "rule"
    place.mkdir()
    (place / "model.py").write_text(CLASS)
    (place / "thumb.json").write_text(json.dumps(THUMB))
    rows, asked = numbers(flights(TRAINED, 0)), numbers(flights(ASKED, 1))
    scope: dict[str, object] = {}
    exec(CLASS, scope)
    rule = scope["Rule"]()  # type: ignore[operator]
    rule.load(place)
    answers = rule.predict(asked)
    return Brought(place, rows, asked, {**answers, "label": np.asarray(answers["label"]).astype(str)})


def _trained() -> LogisticRegression:
    frame = flights(TRAINED, 0)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers(frame), frame["late"])


def _mlflow(folder: Path) -> Brought:
    import_place = next((ROOT / ".venv" / "mlflow").glob("lib/python*/site-packages"))
    model, asked = _trained(), numbers(flights(ASKED, 1))
    with (folder / "trained.joblib").open("wb") as file:
        pickle.dump((model, numbers(flights(TRAINED, 0))), file)
    script = LOG.format(site=str(import_place), folder=str(folder))
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    done = subprocess.run([sys.executable, "-c", script], env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-500:])
    return Brought(Path(f"mlflow:{folder / 'logged'}"), None, asked, said(model, asked))


def _archive(folder: Path) -> Brought:
    model = _trained()
    rows = numbers(flights(ASKED, 1)).to_numpy()
    manifest = {"modelName": "lateness", "serializedFile": "model.pkl", "handler": "handler.py", "modelVersion": "1.0"}
    with zipfile.ZipFile(folder / "lateness.mar", "w") as archive:
        archive.writestr("handler.py", HANDLER)
        archive.writestr("model.pkl", pickle.dumps(model))
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"runtime": "python", "model": manifest}))
    asked = {"data": np.array([json.dumps({"row": row.tolist()}) for row in rows], dtype=object)}
    return Brought(Path(f"mar:{folder / 'lateness.mar'}"), None, asked, {"body": model.predict(rows).astype(str)})


def _repository(folder: Path) -> Brought:
    frame = flights(TRAINED, 0)
    rows, asked = numbers(frame).to_numpy(np.float32), numbers(flights(ASKED, 1)).astype(np.float32)
    model = LogisticRegression(max_iter=2000).fit(rows, frame["late"])
    graph = to_onnx(model, rows[:1], options={"zipmap": False})
    for value in graph.graph.output:
        if value.name == "output_label":
            value.name = "label"
        elif value.name == "output_probability":
            value.name = "probabilities"
    for node in graph.graph.node:
        node.output[:] = [
            {"output_label": "label", "output_probability": "probabilities"}.get(one, one) for one in node.output
        ]
    place = folder / "repository" / "lateness" / "1"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(graph.SerializeToString())
    (place.parent / "config.pbtxt").write_text(CONFIG)
    return Brought(Path(f"triton:{place.parent}"), rows, asked, said(model, asked.to_numpy()))


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield Kind("a class of one's own, with a file", _own_class)
    yield Kind("MLflow: a logged pipeline", _mlflow)
    yield Kind("TorchServe: an archive (.mar)", _archive)
    yield Kind("Triton: a model repository", _repository)
