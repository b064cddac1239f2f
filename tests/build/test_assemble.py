"""The build's main line: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from models_for_tests import fitted, in_pipeline
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from penstock.build.assemble import build
from penstock.build.examine import examine
from penstock.build.request import BuildRequest
from penstock.errors import InvalidInput, NotFound, PenstockError, Untrusted
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.statistics import reference

Pack = Callable[..., Package]


class Malicious:
    """Whoever unpickles it runs a command."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.what = (function, arguments)

    def __reduce__(self) -> object:
        return self.what


def shout(rows: pd.DataFrame) -> pd.DataFrame:
    """A step of one's own: code that travels by name only."""
    return rows


@pytest.mark.parametrize("form", ["joblib", "pickle", "gzip", "protocol 0"])
def test_a_malicious_file_is_refused_by_name_and_never_run(pack: Pack, tmp_path: Path, form: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.joblib"
    bomb = {"steps": [np.arange(5), Malicious(os.system, f"touch {canary}"), np.ones(3)]}
    if form == "joblib":
        joblib.dump(bomb, path)
    else:
        data = pickle.dumps(bomb["steps"][1], protocol=0) if form == "protocol 0" else pickle.dumps(bomb)
        path.write_bytes(gzip.compress(data) if form == "gzip" else data)
    with pytest.raises(Untrusted, match=r"posix\.system"):
        pack(path)
    assert not canary.exists()


def test_allowed_code_runs_behind_the_walls(pack: Pack, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.joblib"
    joblib.dump(Malicious(os.system, f"touch {canary}"), path)
    with pytest.raises(PenstockError):
        pack(path, allow_code=True)
    joblib.dump(Malicious(Path.write_text, canary, "here"), path)
    with pytest.raises(PenstockError):
        pack(path, allow_code=True)
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"\x80\x04}q\x00.", b"PK\x03\x04" + bytes(50)], ids=repr)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(PenstockError) as refusal:
        examine({"model": str(path)}, tmp_path)  # none of these runs anything: no sandbox is needed to see it
    assert refusal.value.code in ("build.unknown_format", "build.unreadable_pickle", "build.no_model")


def test_a_refusal_leaves_nothing_behind(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidInput):
        pack(tmp_path / "model.onnx")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_missing_file_is_not_found(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        pack(tmp_path / "nothing.joblib")


def test_a_live_pipeline_becomes_a_whole_package(pack: Pack, frame: pd.DataFrame, tmp_path: Path) -> None:
    model, rows = fitted(frame, RandomForestClassifier(5, max_depth=4, random_state=0), pipeline=True)
    steps: list[str] = []
    rows = rows.assign(at=pd.date_range("2013-01-01", periods=len(rows), freq="h"))
    rows.to_parquet(tmp_path / "rows.parquet")
    said = {"parameters": {"owner": "me"}, "progress": steps.append}
    package = pack(model, tmp_path / "rows.parquet", labels="y", time="at", **said)
    manifest = package.manifest
    assert (manifest.engine, manifest.kind, manifest.task) == ("onnxruntime", "sklearn", "classification")
    assert manifest.classes == ("late", "on time")
    assert manifest.parameters == {"owner": "me"}
    assert [(spec.name, spec.datatype, spec.nullable) for spec in manifest.signature.inputs] == [
        ("delay", "FP64", True),
        ("distance", "FP64", True),
        ("hour", "INT64", False),
        ("carrier", "BYTES", True),
    ], "only what the pipeline reads"
    assert set(manifest.files) == {
        "golden.json",
        "model/model.onnx",
        "model/original.joblib",
        "parity.json",
        "profile.json",
        "requirements.lock",
        "sbom.json",
    }
    assert len(steps) >= 4
    profile = reference.decode(package.path("profile.json").read_bytes())
    assert profile.labelled == len(rows)
    assert reference.SCORE in profile.profile.columns
    lock = package.path("requirements.lock").read_text()
    assert "scikit-learn==" in lock
    assert "numpy==" in lock
    assert "msgspec==" in lock
    assert "://" not in lock


def test_what_cannot_be_compiled_is_served_as_it_is_and_says_why(pack: Pack, frame: pd.DataFrame) -> None:
    text = OneHotEncoder(handle_unknown="ignore")
    # No ONNX operator does what this step does, and it is no code: a function of numpy by name.
    numbers = FunctionTransformer(np.spacing)
    columns = ColumnTransformer([("n", numbers, ["distance"]), ("t", text, ["carrier"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, frame["late"])
    package = pack(model, frame)
    assert package.manifest.engine == "python"
    assert package.manifest.entry == "model/original.joblib"
    assert package.manifest.parity is not None
    assert not package.manifest.parity.passed
    assert package.manifest.parity.reason
    engine = open_engine(package)
    try:
        prove(engine, package)
    finally:
        engine.close()


def test_code_of_ones_own_is_named(pack: Pack, frame: pd.DataFrame) -> None:
    model = make_pipeline(FunctionTransformer(shout), in_pipeline(LogisticRegression())).fit(frame, frame["late"])
    with pytest.raises(Untrusted, match="shout") as refusal:
        pack(model, frame)
    assert refusal.value.code == "build.foreign_code"


def test_no_data_is_no_obstacle(pack: Pack, frame: pd.DataFrame) -> None:
    model, _ = fitted(frame, RandomForestClassifier(5, max_depth=4, random_state=0), pipeline=True)
    package = pack(model)
    assert package.manifest.engine == "onnxruntime"
    assert "profile.json" not in package.manifest.files
    assert [spec.datatype for spec in package.manifest.signature.inputs if spec.name == "carrier"] == ["BYTES"]


def test_missing_text_and_numbers_answer_as_in_training(pack: Pack, frame: pd.DataFrame) -> None:
    gaps = frame.copy()
    gaps.loc[::7, "carrier"] = None
    gaps.loc[::5, "delay"] = np.nan
    model = in_pipeline(LogisticRegression(max_iter=300)).fit(gaps, gaps["late"])  # type: ignore[attr-defined]
    package = pack(model, gaps)
    assert package.manifest.engine == "onnxruntime"
    golden = package.golden()
    assert any((array == "").any() for array in golden.inputs.values() if array.dtype == object)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda frame: frame.drop(columns="carrier"), "data"),
        (lambda frame: frame.iloc[:0], "data"),
    ],
    ids=["lacking", "empty"],
)
def test_data_that_does_not_fit_is_refused(
    pack: Pack, frame: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame], where: str
) -> None:
    model = in_pipeline(LogisticRegression()).fit(frame, frame["late"])  # type: ignore[attr-defined]
    with pytest.raises(InvalidInput) as refusal:
        pack(model, change(frame))
    assert refusal.value.where == where


def test_an_unsigned_package_is_possible(frame: pd.DataFrame, tmp_path: Path) -> None:
    model, rows = fitted(frame, LogisticRegression(), pipeline=False)
    package = build(model, BuildRequest(name="model", out=tmp_path, data=rows, labels="y", lock=False))
    assert not (package.folder / "signature.json").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == [package.digest.removeprefix("sha256:")]
