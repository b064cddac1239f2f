"""A package whose graph's numbers lie beside it, small: made by the build's own steps, with a lower threshold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pandas as pd
from onnx import ModelProto, TensorProto, helper, numpy_helper

from penstock.app.app import App
from penstock.app.registering import register_package
from penstock.app.tables import keep_table
from penstock.build.assemble import put_together
from penstock.build.examine import Laps, examine_original
from penstock.build.formats.onnx import OnnxFormat
from penstock.build.request import BuildRequest
from penstock.build.rows import read_rows
from penstock.packages.read import Package
from penstock.records import Version
from penstock.tensors import Array

NUMBERS = "model/model.data"
FEW_BYTES = 100_000
COLUMNS = ("a", "b", "c", "d")
_CHANCE = np.random.default_rng(11)
_WIDE = (_CHANCE.normal(size=(4, 160)) / 2).astype(np.float32)
_SQUARE = (_CHANCE.normal(size=(160, 160)) / 13).astype(np.float32)
_TABLE = (_CHANCE.normal(size=(300, 160)) / 13).astype(np.float32)


def graph() -> ModelProto:
    """A product of matrices, and a table of which each row takes one: that stays mapped as long as it is served."""
    nodes = [
        helper.make_node("MatMul", ["x", "wide"], ["first"]),
        helper.make_node("Tanh", ["first"], ["flat"]),
        helper.make_node("MatMul", ["flat", "square"], ["second"]),
        helper.make_node("Gather", ["x", "zero"], ["column"], axis=1),
        helper.make_node("Abs", ["column"], ["size"]),
        helper.make_node("Cast", ["size"], ["at"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "at"], ["row"]),
        helper.make_node("Mul", ["second", "row"], ["both"]),
        helper.make_node("ReduceSum", ["both", "last"], ["y"], keepdims=1),
    ]
    constants = {"wide": _WIDE, "square": _SQUARE, "table": _TABLE, "zero": np.array(0), "last": np.array([1])}
    body = helper.make_graph(
        nodes,
        "apart",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def answers(rows: Array) -> Array:
    """What it says, by numpy."""
    table = _TABLE[np.abs(rows[:, 0]).astype(np.int64)]
    return ((np.tanh(rows @ _WIDE) @ _SQUARE) * table).sum(axis=1)


def rows_of(count: int, seed: int = 3) -> Array:
    rows = np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)
    rows[:, 0] *= 80
    return rows


def apart_version(app: App, place: Path, name: str = "apart") -> tuple[Version, Package]:
    """It packaged and registered; what the sandbox does is done here, since its threshold cannot be told to it."""
    for part in ("given", "scratch", "package"):
        (place / part).mkdir(parents=True)
    onnx.save(graph(), place / "given" / "model")
    rows = rows_of(400)
    frame = pd.DataFrame(rows, columns=COLUMNS)
    _, dataset = keep_table(frame.assign(y=answers(rows)), home=app.home, name=name, role="validation")
    with _at(place / "scratch"):
        original = OnnxFormat(apart_bytes=FEW_BYTES).open(place / "given" / "model")
        examined = examine_original(original, frame, place / "scratch", Laps())
    request = BuildRequest(
        name=name,
        out=place / "out",
        data=frame,
        labels=answers(rows),
        lock=False,
        key=app.package_key,
        datasets=(dataset,),
        parameters={"label": "y", "time": "", "group": ""},
    )
    request.out.mkdir()
    named = msgspec.structs.replace(examined, kind="onnx", suffix=".onnx")
    package = put_together(place, named, read_rows(request), request)
    return register_package(app, package), package


@contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
