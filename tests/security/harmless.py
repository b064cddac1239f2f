"""Harmless models, of every kind and in every file that people save them in: none of them may be refused."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import joblib
import lightgbm
import numpy as np
import pandas as pd
import skops.io
import xgboost
import yaml
from skl2onnx import to_onnx

sys.path.insert(0, str(Path(__file__).parents[1] / "build"))

from models_for_tests import NUMBERS, SCIKIT, fitted, make_frame

ENCODER = Path(__file__).parents[1] / "golden" / "encoder"
OWN = "import numpy as np\n\nclass Churn:\n    def predict(self, rows: np.ndarray):\n        return rows.sum(axis=1)\n"


class Harmless(NamedTuple):
    """One model.

    Attributes:
        family: Of which kind of file.
        name: Which model, saved how.
        rows: Data that it was not trained on; None for none.
        make: Writes it into an empty folder and tells the path.
    """

    family: str
    name: str
    rows: pd.DataFrame | None
    make: Callable[[Path], Path]


def harmless() -> Iterator[Harmless]:
    """All of them; models are fitted here, seeds fixed."""
    frame = make_frame(120, seed=0)
    for name, model in SCIKIT.items():
        for pipeline in (False, True):
            made, rows = fitted(frame, model, pipeline=pipeline)
            told = f"{name} in a pipeline" if pipeline else name
            given = frame[[*NUMBERS, "carrier"]] if pipeline else rows.drop(columns="y")
            yield Harmless("joblib", told, given, _file(lambda path, made=made: joblib.dump(made, path)))
            for how in (("zlib", 3), ("gzip", 3), ("bz2", 3), ("lzma", 1), ("xz", 1))[len(name) % 5 :][:1]:
                squeezed = _file(lambda path, made=made, how=how: joblib.dump(made, path, compress=how))
                yield Harmless("joblib", f"{told}, {how[0]}", given, squeezed)
            for protocol in (2 + len(name) % 4, 4):
                data = pickle.dumps(made, protocol)
                yield Harmless(
                    "pickle",
                    f"{told}, protocol {protocol}",
                    given,
                    _file(lambda path, data=data: path.write_bytes(data)),
                )
            yield Harmless("skops", told, given, _file(lambda path, made=made: skops.io.dump(made, path)))
    yield from _boosters()
    yield from _others()


def _boosters() -> Iterator[Harmless]:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(120, 3)), columns=["a", "b", "c"])
    truth = (rows["a"] + rows["b"] > 0).astype(int)
    for name, model in {
        "LGBMClassifier": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
        "LGBMRegressor": lightgbm.LGBMRegressor(n_estimators=5, verbose=-1),
        "XGBClassifier": xgboost.XGBClassifier(n_estimators=5),
        "XGBRegressor": xgboost.XGBRegressor(n_estimators=5),
    }.items():
        model.fit(rows, truth)
        yield Harmless("joblib", name, rows, _file(lambda path, model=model: joblib.dump(model, path)))
        yield Harmless("pickle", name, rows, _file(lambda path, model=model: path.write_bytes(pickle.dumps(model))))
        if name.startswith("LGBM"):
            yield Harmless("lightgbm", name, rows, _file(lambda path, model=model: model.booster_.save_model(path)))
        else:
            for form in ("json", "ubj"):
                data = bytes(model.get_booster().save_raw(form))
                yield Harmless(
                    "xgboost", f"{name}, {form}", rows, _file(lambda path, data=data: path.write_bytes(data))
                )


def _others() -> Iterator[Harmless]:
    frame = make_frame(120, seed=1)
    for name in ("logistic", "ridge", "tree", "forest", "mlp", "linear"):
        model, rows = fitted(frame, SCIKIT[name], pipeline=False)
        given = rows.drop(columns="y")
        data = to_onnx(model, given.to_numpy(np.float32)[:1]).SerializeToString()
        yield Harmless("onnx", name, None, _file(lambda path, data=data: path.write_bytes(data)))
        yield Harmless("mlflow", name, given, _logged(model))
    yield Harmless("encoder", "a small BERT", None, _encoder)
    yield Harmless("own class", "in a file", frame[["hour", "distance"]], _own)


def _file(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder / "model")
        return folder / "model"

    return make


def _logged(model: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        flavors = {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {"pickled_model": "model.pkl"}}
        (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
        (folder / "model.pkl").write_bytes(pickle.dumps(model))
        return folder

    return make


def _encoder(folder: Path) -> Path:
    shutil.copytree(ENCODER, folder / "model", ignore=shutil.ignore_patterns("expected.json"))
    return folder / "model"


def _own(folder: Path) -> Path:
    (folder / "churn.py").write_text(OWN)
    return Path(f"{folder / 'churn.py'}:Churn")
