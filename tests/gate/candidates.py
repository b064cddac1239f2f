"""Candidates for the gate's tests: made-up days of rows, small fitted models, real package folders.

A shop's baskets over 60 days: what is in the basket, and the weather of the day, which moves every basket of that
day. A holdout of random rows therefore shares its days with the train file; one of whole days does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from onnx import TensorProto, helper
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from penstock.gate.check import Candidate
from penstock.gate.data import Columns, gate_data
from penstock.packages.read import Package, open_package
from penstock.records import FileEntry, Manifest, encode
from penstock.tensors import Arrays, Signature, TensorSpec

NUMBERS = ("weight", "price", "weather")
FEATURES = (*NUMBERS, "items", "shop")
SIGNATURE = Signature(
    inputs=(
        *(TensorSpec(name=name, datatype="FP64", shape=(-1, 1), nullable=True) for name in NUMBERS),
        TensorSpec(name="items", datatype="INT64", shape=(-1, 1)),
        TensorSpec(name="shop", datatype="BYTES", shape=(-1, 1), nullable=True),
    ),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 2)),
    ),
)
LABELLED = Columns(label="late")


def baskets(rows: int = 4000, *, days: int = 60, luck: float = 1.2, seed: int = 0) -> pd.DataFrame:
    """LabelledRows of `days` days; `luck` is how much a day moves all of its rows."""
    random = np.random.default_rng(seed)
    day = random.integers(days, size=rows)
    moods = random.normal(size=days) * luck
    frame = pd.DataFrame(
        {
            "weight": random.normal(10, 3, size=rows),
            "price": random.gamma(2, 20, size=rows),
            # Every day has a weather of its own, which says nothing by itself.
            "weather": random.permutation(days)[day] + 0.5,
            "items": random.integers(1, 20, size=rows),
            "shop": np.array(["north", "south", "east"])[random.integers(3, size=rows)],
            "day": pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D"),
            "customer": random.integers(rows, size=rows).astype(str),
        }
    )
    push = (frame["weight"] - 10) / 3 + (frame["shop"] == "north") - frame["items"] / 20 + moods[day]
    frame["late"] = (random.random(rows) < 1 / (1 + np.exp(-1.5 * push))).astype(int)
    return frame


def by_day(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and validation rows; every third day is held out."""
    held = frame["day"].dt.day_of_year % 3 == 0
    return frame[~held], frame[held]


def by_row(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train and validation rows at random: the mistake."""
    held = np.random.default_rng(1).random(len(frame)) < 1 / 3
    return frame[~held], frame[held]


def logistic(train: pd.DataFrame) -> object:
    """A model that does what it should."""
    columns = make_column_transformer(
        (make_pipeline(StandardScaler()), ["weight", "price", "items", "weather"]),
        (OneHotEncoder(handle_unknown="ignore"), ["shop"]),
    )
    return make_pipeline(columns, LogisticRegression()).fit(train[list(FEATURES)].fillna(0), train["late"])


def boosted(train: pd.DataFrame) -> object:
    """A model that reads the day off its weather."""
    encode_shop = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encode_shop, ["shop"]), remainder="passthrough")
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    # Threads of so small a fit only wait for each other.
    with threadpool_limits(limits=1):
        return make_pipeline(columns, model).fit(train[list(FEATURES)], train["late"])


def probabilities(model: object) -> Callable[[pd.DataFrame], np.ndarray]:
    """The model's probability of lateness; missing numbers count as 0, as the pipeline in the test says."""

    def answer(frame: pd.DataFrame) -> np.ndarray:
        with threadpool_limits(limits=1):
            return model.predict_proba(frame.fillna(0))[:, 1]

    return answer


class FunctionEngine:
    """An engine around any function from rows to the probability of lateness."""

    inline = True

    def __init__(self, answer: Callable[[pd.DataFrame], np.ndarray]) -> None:
        self.answer = answer

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        frame = pd.DataFrame({name: array.reshape(-1) for name, array in inputs.items()})
        late = np.asarray(self.answer(frame), dtype=float)
        return {"label": (late > 0.5).astype(np.int64), "probabilities": np.column_stack([1 - late, late])}

    def close(self) -> None:
        """Nothing is held."""


def identity_graph(domain: str = "") -> bytes:
    """The smallest graph there is, of one operator."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"], domain=domain)], "g", [value], [out])
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()


def package(folder: Path, files: dict[str, bytes] | None = None, **fields: object) -> Package:
    """A real package's folder, opened; the manifest names what `files` holds."""
    contents = files or {"model/model.onnx": identity_graph()}
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    known = {
        "format": 1,
        "name": "baskets",
        "kind": "onnx",
        "engine": "onnxruntime",
        "entry": next(iter(contents)),
        "task": "classification",
        "classes": (0, 1),
        "signature": SIGNATURE,
        "files": {
            name: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in contents.items()
        },
    }
    (folder / "manifest.json").write_bytes(encode(Manifest(**{**known, **fields})))
    return open_package(folder)


def candidate(
    folder: Path,
    parts: dict[str, pd.DataFrame],
    answer: Callable[[pd.DataFrame], np.ndarray],
    *,
    columns: Columns = LABELLED,
    files: dict[str, bytes] | None = None,
    **fields: object,
) -> Candidate:
    """A candidate that answers with a function, on frames."""
    return Candidate(
        package=package(folder, files),
        engine=FunctionEngine(answer),
        data=gate_data(parts, SIGNATURE, columns),
        **fields,
    )
