from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import DataPlane, route, v2
from packages_for_tests import linear_package
from penstock.errors import BadConfig
from penstock.records import Manifest
from penstock.serve.thresholds import check, decide
from penstock.tensors import Signature


def manifest(*classes: str | int | bool) -> Manifest:
    return Manifest(
        format=1, name="m", kind="onnx", engine="onnxruntime", entry="m", task="classification",
        signature=Signature(inputs=(), outputs=()), files={}, classes=classes,
    )  # fmt: skip


PROBABILITIES = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])


def test_the_positive_class_answers_from_its_threshold_on() -> None:
    outputs = {"label": np.array([0, 0, 1]), "probabilities": PROBABILITIES}
    assert decide({"1": 0.4}, manifest(0, 1), outputs)["label"].tolist() == [0, 1, 1]
    assert decide({"1": 0.9}, manifest(0, 1), outputs)["label"].tolist() == [0, 0, 0]
    assert decide({"0": 0.7}, manifest(0, 1), outputs)["label"].tolist() == [0, 1, 1]


def test_labels_keep_their_type() -> None:
    outputs = {"label": np.array(["no", "no", "yes"], object), "probabilities": PROBABILITIES}
    decided = decide({"yes": 0.4}, manifest("no", "yes"), outputs)["label"]
    assert decided.tolist() == ["no", "yes", "yes"]
    assert all(type(label) is str for label in decided)


def test_thresholds_that_fit_no_model_are_refused() -> None:
    with pytest.raises(BadConfig, match="two classes"):
        check({"1": 0.4}, manifest(0, 1, 2))
    with pytest.raises(BadConfig, match="no threshold"):
        check({"maybe": 0.4}, manifest(0, 1))
    check({}, manifest())


def test_a_release_brings_its_thresholds(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("plain", digest), route("careful", digest, thresholds={"1": 0.999}))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        body = v2([[1.0, 2.0, 3.0, 4.0]])
        assert plane.ask("POST", "/v2/models/plain/infer", body).json["outputs"][0]["data"] == [1]
        assert plane.ask("POST", "/v2/models/careful/infer", body).json["outputs"][0]["data"] == [0]
        plane.write(route("plain", digest, thresholds={"nobody": 0.5}))
        assert plane.ask("POST", "/v2/models/plain/infer", body).status == 200
    finally:
        plane.stop()
