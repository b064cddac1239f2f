"""Python models whose pickles bring their own code: one that takes the time it is told to, without using the machine.

Written by hand, as `packages_for_tests` writes graphs; they answer in the sandbox, as every Python model does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cloudpickle
import numpy as np

from penstock.packages.golden import GOLDEN, Golden, encode_golden
from penstock.packages.manifest import FORMAT, MANIFEST
from penstock.records import FileEntry, Manifest, encode
from penstock.tensors import Signature, TensorSpec

SLEEPER = """
import time

class Sleeper:
    def predict(self, rows):
        time.sleep(float(rows[:, 0].max()))
        return rows[:, 0] * 2
"""
FIXED = """
import time

class Fixed:
    def predict(self, rows):
        time.sleep({seconds})
        return rows[:, 0] * 2
"""


def python_package(folder: Path, source: str, *, name: str) -> str:
    """A regressor of ``X`` ``[-1, 1]`` FP64 that answers twice its number, by the one class in `source`.

    Returns:
        Its digest, ``sha256:<hex>``.
    """
    space: dict[str, type] = {"__name__": "__main__"}
    exec(source, space)
    (model,) = (value for value in space.values() if isinstance(value, type))
    x = np.array([[0.0], [0.001]])
    golden = Golden(inputs={"X": x}, outputs={"prediction": x[:, 0] * 2})
    files = {"model/original.pkl": cloudpickle.dumps(model()), GOLDEN: encode_golden(golden)}
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    manifest = Manifest(
        format=FORMAT,
        name=name,
        kind="sklearn",
        engine="python",
        entry="model/original.pkl",
        task="regression",
        signature=Signature(
            inputs=(TensorSpec(name="X", datatype="FP64", shape=(-1, 1)),),
            outputs=(TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),),
        ),
        files={p: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for p, data in files.items()},
    )
    data = encode(manifest)
    (folder / MANIFEST).write_bytes(data)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sleeper_package(folder: Path, *, name: str = "sleeper") -> str:
    """It takes as many seconds as the largest number it is asked; returns its digest."""
    return python_package(folder, SLEEPER, name=name)


def fixed_package(folder: Path, *, seconds: float, name: str = "fixed") -> str:
    """A run takes `seconds`, whatever it is asked; returns its digest."""
    return python_package(folder, FIXED.format(seconds=seconds), name=name)


def number(value: float) -> bytes:
    """A V2 body of one number."""
    tensor = b'{"name":"X","shape":[1,1],"datatype":"FP64","data":[%r]}'
    return b'{"inputs":[' + tensor.replace(b"%r", repr(value).encode()) + b"]}"
