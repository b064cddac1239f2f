"""Small real packages, made by hand, so that the runtime is tested without the build stage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock.packages.golden import Golden, encode_golden
from penstock.packages.read import Package, open_package
from penstock.records import FileEntry, Manifest, encode
from penstock.runtime.engine import Engine, open_engine
from penstock.tensors import Arrays, Signature, TensorSpec

MakePackage = Callable[..., Package]
OpenEngine = Callable[[Package], Engine]

INPUTS = (
    TensorSpec(name="distance", datatype="FP64", shape=(-1, 1)),
    TensorSpec(name="carrier", datatype="BYTES", shape=(-1, 1), nullable=True),
)
OUTPUTS = (
    TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
    TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 2)),
)


def texts(values: object) -> np.ndarray:
    return np.asarray(values, dtype=object)


def rows(count: int, seed: int = 0) -> Arrays:
    """Inputs of the pipeline."""
    random = np.random.default_rng(seed)
    return {
        "distance": random.normal(1000, 300, (count, 1)),
        "carrier": texts(random.choice(["AA", "UA", "é航", ""], (count, 1))),
    }


def frame(inputs: Arrays) -> pd.DataFrame:
    table = pd.DataFrame({name: array.reshape(-1) for name, array in inputs.items()})
    table["carrier"] = table["carrier"].astype(object).where(table["carrier"] != "", np.nan)
    return table


@pytest.fixture(scope="session")
def pipeline() -> object:
    """A pipeline on a DataFrame: numbers, text, missing text."""
    inputs = rows(400, seed=1)
    late = np.where(inputs["distance"][:, 0] > 1000, "late", "on time")
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["distance"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["carrier"])]
    )
    return make_pipeline(columns, LogisticRegression()).fit(frame(inputs), late)


@pytest.fixture(scope="session")
def make_package(tmp_path_factory: pytest.TempPathFactory) -> MakePackage:
    """Write a package by hand: a model object (or a file's bytes) with its signature."""

    def make(
        model: object, inputs: tuple, outputs: tuple, *, golden: Golden | None = None, **fields: object
    ) -> Package:
        folder = tmp_path_factory.mktemp("package")
        name = str(fields.pop("entry", "model/original.joblib"))
        (folder / name).parent.mkdir(exist_ok=True)
        if isinstance(model, bytes):
            (folder / name).write_bytes(model)
        else:
            joblib.dump(model, folder / name)
        for extra, data in dict(fields.pop("extra", {})).items():
            (folder / extra).write_text(data)
        if golden is not None:
            (folder / "golden.json").write_bytes(encode_golden(golden))
        files = {}
        for path in folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                files[str(path.relative_to(folder))] = FileEntry(sha256=digest, size=len(data))
        defaults = {"format": 1, "name": "test", "kind": "sklearn", "engine": "python", "task": "classification"}
        signature = Signature(inputs=inputs, outputs=outputs)
        manifest = Manifest(**(defaults | fields), entry=name, signature=signature, files=files)
        (folder / "manifest.json").write_bytes(encode(manifest))
        return open_package(folder)

    return make


@pytest.fixture(scope="session")
def package(make_package: MakePackage, pipeline: object) -> Package:
    """The pipeline, to be answered by the python engine."""
    inputs = rows(12)
    answers = {
        "label": texts(pipeline.predict(frame(inputs))),
        "probabilities": pipeline.predict_proba(frame(inputs)),
    }
    golden = Golden(inputs=inputs, outputs=answers)
    return make_package(pipeline, INPUTS, OUTPUTS, golden=golden, classes=("late", "on time"))


@pytest.fixture
def opened() -> Iterator[OpenEngine]:
    """Open an engine that is closed after the test."""
    engines: list[Engine] = []

    def start(package: Package) -> Engine:
        engines.append(open_engine(package))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()
