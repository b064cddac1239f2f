"""What the journeys share: the command line as a person types it, and a model as a data scientist has it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SETTINGS = "api: {port: 0}\nserve: {port: 0, workers: 2}\n"


@dataclass(frozen=True)
class Typist:
    """Types `penstock` verbs in a folder."""

    folder: Path

    def run(self, *words: str, token: str = "", code: int = 0) -> str:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
        if token:
            environment["PENSTOCK_TOKEN"] = token
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 or done.stdout else done.stderr

    def json(self, *words: str, token: str = "", code: int = 0) -> dict:
        return json.loads(self.run(*words, "--json", token=token, code=code))

    @property
    def home(self) -> Path:
        return self.folder / ".penstock"


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    (tmp_path / "penstock.yaml").write_text(SETTINGS)
    typist = Typist(tmp_path)
    yield typist
    typist.run("down")


def customers(rows: int, seed: int = 0) -> pd.DataFrame:
    """Customers who stay or leave: a number with gaps, whole numbers, text."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "income": rng.normal(50, 15, rows).round(2),
            "plan": rng.choice(["basic", "plus", "pro"], rows),
        }
    )
    frame.loc[::11, "income"] = np.nan
    leaves = frame.age * 0.03 + (frame.plan == "basic") * 1.2 + rng.normal(0, 1, rows) > 2
    frame["churned"] = leaves.astype(int)
    return frame


def trained(frame: pd.DataFrame, strength: float = 1.0) -> Pipeline:
    """A pipeline as people write it."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["plan"]),
    )
    return make_pipeline(columns, LogisticRegression(C=strength)).fit(frame.drop(columns="churned"), frame["churned"])


@pytest.fixture
def model_files(typist: Typist) -> tuple[Path, Path, Pipeline]:
    """(model.joblib, validation.parquet, the pipeline itself)."""
    pipeline = trained(customers(2000))
    joblib.dump(pipeline, typist.folder / "model.joblib")
    customers(2000, seed=1).to_parquet(typist.folder / "validation.parquet")
    return typist.folder / "model.joblib", typist.folder / "validation.parquet", pipeline


@pytest.fixture(scope="session")
def passed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose home holds churn@1 and churn@2, both past the gate and neither released; copy it.

    Processes that share a run's tests share it: the first that asks makes it.
    """
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    folder = place / "passed"
    with (place / "passed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = place / "passing"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            _pass(making)
            making.rename(folder)
    return folder


def _pass(folder: Path) -> None:
    (folder / "penstock.yaml").write_text(SETTINGS)
    customers(2000, seed=1).to_parquet(folder / "validation.parquet")
    typist = Typist(folder)
    for version, strength in ((1, 1.0), (2, 0.01)):
        joblib.dump(trained(customers(2000), strength), folder / "model.joblib")
        typist.run("package", "model.joblib", "--name", "churn", "--data", "validation.parquet", "--label", "churned")
        typist.run("check", f"churn@{version}")


@pytest.fixture
def passed(passed_home: Path, tmp_path: Path) -> Iterator[Typist]:
    """A copy of `passed_home` to work on, stopped at the end."""
    shutil.copytree(passed_home, tmp_path / "work")
    typist = Typist(tmp_path / "work")
    yield typist
    typist.run("down")
