"""A small signed package, made by hand: no model library is needed to check what a package is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from penstock.build.sign import sign_folder
from penstock.packages.digests import sha256_bytes
from penstock.packages.golden import Golden, encode_golden
from penstock.packages.keys import PrivateKey, load_or_create_package_key
from penstock.packages.manifest import FORMAT
from penstock.records import FileEntry, Manifest, encode
from penstock.tensors import Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 1), nullable=True),),
    outputs=(TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),),
)


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    return load_or_create_package_key(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path, key: PrivateKey) -> Path:
    place = tmp_path / "package"
    (place / "model").mkdir(parents=True)
    golden = Golden(inputs={"x": np.array([[1.0], [np.nan]])}, outputs={"prediction": np.array([2.0, np.nan])})
    contents = {
        "model/model.onnx": b"not really a graph",
        "golden.json": encode_golden(golden),
        "parity.json": b"{}",
        "requirements.lock": b"numpy==2\n",
    }
    for name, data in contents.items():
        (place / name).write_bytes(data)
    manifest = Manifest(
        format=FORMAT,
        name="doubler",
        kind="onnx",
        engine="onnxruntime",
        entry="model/model.onnx",
        task="regression",
        signature=SIGNATURE,
        files={name: FileEntry(sha256=sha256_bytes(data), size=len(data)) for name, data in contents.items()},
    )
    (place / "manifest.json").write_bytes(encode(manifest))
    sign_folder(place, key)
    return place
