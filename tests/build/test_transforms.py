"""Declared steps around models of several formats: what the package takes, answers and says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge

from penstock.build.declaration import as_plain, declaration_of, parse_transforms
from penstock.build.reassemble import Reform, with_graph
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, InvalidInput
from penstock.gate.answers import answers_of
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.tensors import Arrays

Pack = Callable[..., Package]
NUMBERS = ["delay", "distance", "hour"]
FILLED = [{"impute": {"columns": ["delay"], "with": 0}}, {"scale": {"columns": NUMBERS, "as": "robust"}}]


def scaled(frame: pd.DataFrame) -> pd.DataFrame:
    """What `FILLED` does."""
    found = frame[NUMBERS].astype(float).assign(delay=frame["delay"].fillna(0))
    return (found - found.median()) / (found.quantile(0.75) - found.quantile(0.25))


def asked(package: Package, rows: Arrays) -> Arrays:
    engine = open_engine(package)
    try:
        prove(engine, package)
        return engine.run(rows)
    finally:
        engine.close()


def raw(frame: pd.DataFrame) -> Arrays:
    return {
        "delay": frame[["delay"]].to_numpy(),
        "distance": frame[["distance"]].to_numpy(),
        "hour": frame[["hour"]].to_numpy(),
    }


def test_a_forest_of_several_classes_is_calibrated_and_told_by_its_best(pack: Pack, frame: pd.DataFrame) -> None:
    carriers = frame["carrier"]
    model = RandomForestClassifier(9, max_depth=4, random_state=0).fit(scaled(frame), carriers)
    steps = parse_transforms({"preprocess": FILLED, "postprocess": [{"calibrate": "isotonic"}, {"top": 3}]})
    package = pack(model, frame[NUMBERS], labels=carriers.to_numpy(), transforms=steps)
    manifest = package.manifest
    assert manifest.engine == "onnxruntime"
    assert manifest.parity is not None
    assert manifest.parity.threshold_rows > 50, "rows next to the forest's own splits, found back through the scale"
    assert [spec.name for spec in manifest.signature.inputs] == NUMBERS
    assert {spec.name: spec.nullable for spec in manifest.signature.inputs} == {
        "delay": True,
        "distance": True,
        "hour": False,
    }
    found = asked(package, raw(frame))
    assert found["probabilities"].sum(axis=1) == pytest.approx(1)
    assert np.array_equal(found["top_labels"][:, 0], found["label"])
    assert (np.diff(found["top_probabilities"], axis=1) <= 1e-6).all()
    assert manifest.transforms is not None
    assert [step.learned_from for step in manifest.transforms.steps] == [
        "validation, 300 rows",
        "validation, 300 rows",
        "validation, 300 rows",
        "",
    ]
    assert declaration_of(package) == steps
    assert parse_transforms(as_plain(steps)) == steps


def test_a_boosters_own_file_with_numbers_held_and_rounded(pack: Pack, frame: pd.DataFrame, tmp_path: Path) -> None:
    data = lightgbm.Dataset(scaled(frame), frame["minutes"])
    booster = lightgbm.train({"objective": "regression", "verbose": -1, "num_leaves": 5}, data, 12)
    file = tmp_path / "model.txt"
    booster.save_model(file)
    steps = parse_transforms({"preprocess": FILLED, "postprocess": [{"clip": {"low": -5, "high": 9.5}}, {"round": 1}]})
    package = pack(file, frame[NUMBERS], transforms=steps)
    found = asked(package, raw(frame))["prediction"]
    wanted = np.round(np.clip(booster.predict(scaled(frame)), -5, 9.5), 1)
    assert package.manifest.engine == "onnxruntime"
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found.min() == -5


def linear_graph(file: Path, weights: np.ndarray, opset: int) -> None:
    """A graph of floats, as another exporter writes them."""
    nodes = [helper.make_node("MatMul", ["X", "w"], ["prediction"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(weights.astype(np.float32).reshape(3, 1), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, file)


@pytest.mark.parametrize("opset", [11, 17])
def test_a_graph_that_somebody_else_compiled(pack: Pack, frame: pd.DataFrame, tmp_path: Path, opset: int) -> None:
    weights = np.array([1.0, -2.0, 0.5])
    linear_graph(tmp_path / "model.onnx", weights, opset)
    steps = parse_transforms({"preprocess": FILLED, "postprocess": [{"round": 2}]})
    package = pack(tmp_path / "model.onnx", frame[NUMBERS], transforms=steps)
    assert package.manifest.engine == "onnxruntime"
    found = asked(package, raw(frame))["prediction"].reshape(-1)
    assert found == pytest.approx(scaled(frame).to_numpy() @ weights, abs=0.006)


def test_around_a_graph_every_step_has_to_become_part_of_it(pack: Pack, frame: pd.DataFrame, tmp_path: Path) -> None:
    linear_graph(tmp_path / "model.onnx", np.ones(3), 17)
    folded = {"clean": {"columns": ["carrier"], "case": "casefold"}}
    coded = {"encode": {"columns": ["carrier"], "as": "ordinal"}}
    steps = parse_transforms({"preprocess": [folded, coded]})
    with pytest.raises(InvalidInput, match="ONNX has no operator that makes the letters"):
        pack(tmp_path / "model.onnx", frame[["distance", "hour", "carrier"]], transforms=steps)


def test_behind_a_matrix_the_inputs_stay_as_they_are(pack: Pack, frame: pd.DataFrame) -> None:
    rows, late = scaled(frame).to_numpy(), (frame["late"] == "late").to_numpy()
    model = LogisticRegression().fit(rows, late)
    steps = parse_transforms(
        {"postprocess": [{"threshold": {"class": "True", "at": 0.7}}, {"labels": {"True": "late", "False": "on time"}}]}
    )
    package = pack(model, rows, labels=late, transforms=steps)
    assert [(spec.name, spec.shape) for spec in package.manifest.signature.inputs] == [("X", (-1, 3))]
    assert package.manifest.classes == ("on time", "late")
    found = asked(package, {"X": rows})
    wanted = np.where(np.rint(model.predict_proba(rows)[:, 1] * 1e6) >= 700000, "late", "on time")
    assert found["label"].tolist() == wanted.tolist()
    for truth in (late, late.astype(np.int64), np.where(late, "late", "on time").astype(object)):
        judged = answers_of(package.manifest, truth, found)
        assert np.array_equal(judged.truth == judged.answer, (wanted == "late") == late)


def test_another_form_of_the_graph_keeps_its_steps(pack: Pack, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = Ridge().fit(scaled(frame), frame["minutes"])
    steps = parse_transforms({"preprocess": FILLED})
    parent = pack(model, frame[NUMBERS], transforms=steps)
    reform = Reform(label="same", graph=parent.path("model/model.onnx").read_bytes(), tolerance=1e-3)
    child = with_graph(parent, reform, BuildRequest(name="model", out=tmp_path / "forms"))
    assert child.manifest.transforms == parent.manifest.transforms
    assert declaration_of(child) == steps


def test_what_does_not_fit_is_refused_and_says_why(pack: Pack, frame: pd.DataFrame, tmp_path: Path) -> None:
    model = LogisticRegression().fit(scaled(frame), frame["late"])
    joblib.dump(model, tmp_path / "model.joblib")

    def refused(kind: type[Exception], match: str, data: object, **declared: object) -> None:
        with pytest.raises(kind, match=match):
            pack(tmp_path / "model.joblib", data, transforms=parse_transforms(declared))

    one_hot = [{"encode": {"columns": ["hour"], "as": "one-hot"}}]
    refused(InvalidInput, "lacks columns that the model was fitted on: hour", frame[NUMBERS], preprocess=one_hot)
    refused(InvalidInput, "learn from rows, and there are none", None, preprocess=FILLED)
    refused(
        InvalidInput,
        "no class soon",
        frame.dropna()[NUMBERS],
        postprocess=[{"threshold": {"class": "soon", "at": 0.1}}],
    )
    refused(InvalidInput, "no truth to calibrate by", frame.dropna()[NUMBERS], postprocess=[{"calibrate": "sigmoid"}])
    with pytest.raises(BadConfig, match="calibrated on the test part"):
        pack(
            tmp_path / "model.joblib",
            frame.dropna()[NUMBERS],
            transforms=parse_transforms({"postprocess": [{"calibrate": {"from": "test"}}]}),
        )
