"""Files are known by their bytes, graphs by their operators, and nothing is loaded to find out."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import gate_candidates as make
import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from penstock.gate.contents import content_of, graph_of


class Trap:
    """Unpickling it would raise."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, ("1/0",))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def dumped(compress: int) -> bytes:
    buffer = io.BytesIO()
    joblib.dump({"weights": np.arange(100.0)}, buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "kind", "code", "faulty"),
    [
        *[(f"p{number}.bin", pickle.dumps(Trap(), number), "pickle", True, False) for number in range(2, 6)],
        ("old.txt", pickle.dumps(Trap(), 0), "pickle", True, False),
        ("model.json", pickle.dumps(Trap()), "pickle", True, False),
        ("model.joblib", dumped(0), "pickle", True, False),
        ("model.joblib", dumped(3), "compressed, taken as pickle", True, False),
        ("model.onnx", make.identity_graph(), "onnx", False, False),
        ("model.onnx", b"\x00\x01nonsense", "onnx", False, True),
        ("model.skops", zipped("schema.json", "a.npy"), "skops", False, False),
        ("model.pt", zipped("archive/data.pkl"), "torch", True, False),
        ("model.keras", zipped("config.json", "metadata.json"), "keras", True, False),
        ("model.zip", zipped("../../etc/passwd"), "a zip file", True, True),
        ("model.zip", b"PK\x03\x04 broken", "a broken zip file", False, True),
        ("tool", b"\x7fELF\x02", "a program or library (ELF)", True, True),
        ("tool.json", b"#!/bin/sh\n", "a script", True, True),
        ("profile.json", b'{"a": [1, 2]}', "json", False, False),
        ("profile.json", b'{"a": [1, 2', "json", False, True),
        ("model.txt", b"tree\nversion=v4\n", "booster (text)", False, False),
        ("model.ubj", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner", "booster (UBJSON)", False, False),
        ("requirements.lock", b"numpy==2.4.6 --hash=sha256:00\n", "text", False, False),
        ("data.bin", bytes(range(128, 256)), "unknown", False, False),
    ],
)
def test_a_file_is_what_its_bytes_are(
    name: str, data: bytes, kind: str, code: bool, faulty: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    found = content_of(name, tmp_path / name)
    assert (found.kind, found.code, bool(found.fault)) == (kind, code, faulty)


def test_operators_are_counted_however_deep(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Secret", [], ["z"], domain="com.example")],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])],
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [node],
        "outer",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert graph_of(path).domains == {"ai.onnx": 1, "com.example": 2}


def test_data_outside_of_the_file_is_named(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    model = onnx.load_from_string(make.identity_graph())
    model.graph.initializer.append(weights)
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "../weights.bin")
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert graph_of(path).outside == ("../weights.bin",)
