"""The models that every system is measured with, and the right answers.

    seed -> scikit-learn model -> joblib file (MLflow, MLServer) + our package -> its ONNX file (all others)

Everybody serves the very same graph. Made once and kept until this file or what builds packages changes.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import onnx
import onnxruntime
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from bench.convolution import residual_network
from bench.places import ROOT, WORK
from bench.traffic import Floats
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.keys import load_or_create_package_key
from penstock.packages.read import Package, open_package

WIDTH = 20
ROWS = 4096
IMAGES = 8
NUMBERS, TEXTS = 10, 5
PARTS = ("bench/models.py", "bench/convolution.py", "pyproject.toml", "src/penstock/build", "src/penstock/packages")


class Model(NamedTuple):
    """One model in all the forms that servers want.

    Attributes:
        package: Ours.
        onnx: The graph, for everybody; of a model that does not compile, the package's original.
        joblib: The scikit-learn object; of a graph without one, the graph.
        rows: What is asked: a matrix, images or a table.
        expected: What must come back, one line a row.
    """

    package: Package
    onnx: Path
    joblib: Path
    rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | pd.DataFrame
    expected: Floats


def models_folder() -> Path:
    """Where the models of today's code are."""
    digest = hashlib.sha256()
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")) or [ROOT / part]:
            digest.update(path.read_bytes())
    return WORK / f"models-{digest.hexdigest()[:16]}"


def make_model(name: str) -> Model:
    """``trees``, ``images``, ``python``, ``idle`` or ``everyday``."""
    folder = models_folder() / name
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _MAKERS[name](folder)
        (folder / "done").touch()
    return _read(folder)


def _read(folder: Path) -> Model:
    package = open_package(next((folder / "packages").iterdir()), keys=None)
    table = folder / "rows.parquet"
    rows = pd.read_parquet(table) if table.exists() else np.load(folder / "rows.npy")
    return Model(
        package, package.path(package.manifest.entry), folder / "model", rows, np.load(folder / "expected.npy")
    )


def _trees(folder: Path) -> None:
    """100 gradient-boosted trees over 20 numbers: the small model of the tables."""
    x, y, rows = _points()
    model = _booster().fit(x, y)
    _keep(folder, model, rows, "small")
    _expect(folder, model.predict_proba(rows))


def _python(folder: Path) -> None:
    """The same trees behind a step that no graph has, so that the model stays Python."""
    x, y, rows = _points()
    model = make_pipeline(FunctionTransformer(np.cbrt), _booster()).fit(x, y)
    _keep(folder, model, rows, "small")
    _expect(folder, model.predict_proba(rows))


def _idle(folder: Path) -> None:
    """Two steps in Python that do next to nothing: what is around them is what is measured."""
    x, y, rows = _points()
    model = make_pipeline(FunctionTransformer(np.cbrt), DummyRegressor()).fit(x, y)
    _keep(folder, model, rows, "small")
    _expect(folder, model.predict(rows))


def _everyday(folder: Path) -> None:
    """10 numbers with gaps and 5 texts: impute, scale, one-hot, logistic regression, in one graph."""
    random = np.random.default_rng(23)
    table = pd.DataFrame({f"number_{i}": random.normal(size=ROWS).round(4) for i in range(NUMBERS)})
    for i in range(TEXTS):
        table[f"text_{i}"] = random.choice([f"{kind}-{i}" for kind in ("red", "green", "blue", "amber", "slate")], ROWS)
    odds = table["number_0"] + table["number_1"] * (table["text_0"] == "red-0") + (table["text_1"] == "blue-1")
    truth = (odds + random.normal(size=ROWS) > 0.3).astype(int)
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = make_column_transformer(
        (numbers, [f"number_{i}" for i in range(NUMBERS)]),
        (OneHotEncoder(handle_unknown="ignore"), [f"text_{i}" for i in range(TEXTS)]),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table, truth)
    _keep(folder, model, table, "small")
    _expect(folder, model.predict_proba(table))


def _images(folder: Path) -> None:
    """A residual network over 602 KB images, random weights: the large model of the tables."""
    graph = folder / "model"
    onnx.save(residual_network(), graph)
    rows = np.random.default_rng(5).standard_normal((IMAGES, 3, 224, 224)).astype(np.float32)
    build(graph, _request(folder, "small"))
    np.save(folder / "rows.npy", rows)
    _expect(folder, onnxruntime.InferenceSession(graph).run(["output"], {"input": rows})[0])


_MAKERS = {"trees": _trees, "python": _python, "idle": _idle, "everyday": _everyday, "images": _images}


def _points() -> tuple[Floats, Floats, Floats]:
    x, y = make_classification(50_000, WIDTH, n_informative=12, n_redundant=4, class_sep=0.7, random_state=7)
    x = x.astype(np.float32)
    # Few digits, so that a row is the same number in every dialect.
    return x[:40_000], y[:40_000], x[40_000 : 40_000 + ROWS].round(4)


def _booster() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=100, max_depth=6, max_leaf_nodes=51, early_stopping=False, random_state=7
    )


def _keep(
    folder: Path, model: HistGradientBoostingClassifier | Pipeline, rows: Floats | pd.DataFrame, name: str
) -> None:
    """The object as a file, our package, and the rows."""
    joblib.dump(model, folder / "model")
    build(model, _request(folder, name, rows))
    if isinstance(rows, pd.DataFrame):
        rows.to_parquet(folder / "rows.parquet")
    else:
        np.save(folder / "rows.npy", rows)


def _request(folder: Path, name: str, rows: Floats | pd.DataFrame | None = None) -> BuildRequest:
    key = load_or_create_package_key(folder.parent / "keys")
    return BuildRequest(name=name, out=folder / "packages", data=rows, key=key, lock=False)


def _expect(folder: Path, answers: Floats) -> None:
    np.save(folder / "expected.npy", answers.reshape(len(answers), -1).astype(np.float64))
