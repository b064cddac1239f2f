"""Small packages made by hand, so that tests of what serves need nothing of what builds.

`linear_package` is a logistic regression over four numbers whose version can be seen in its answers; `flights_like`
has a number, a text and a nullable column, each an input of its own.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.packages.golden import GOLDEN, Golden, encode_golden
from penstock.packages.manifest import FORMAT, MANIFEST
from penstock.records import FileEntry, Manifest, encode
from penstock.tensors import Array, Arrays, Signature, TensorSpec

WIDTH = 4


def linear_package(folder: Path, *, bias: float = 0.0, wrong: bool = False, name: str = "linear") -> str:
    """A classifier of ``[-1, 4]`` FP32 in ``folder``; `bias` moves its score, `wrong` spoils its golden examples.

    Returns:
        Its digest, ``sha256:<hex>``.
    """
    weights = np.arange(1, WIDTH + 1, dtype=np.float32).reshape(WIDTH, 1) / 10
    nodes = [
        helper.make_node("MatMul", ["X", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["one"]),
        helper.make_node("Sub", ["unit", "one"], ["zero"]),
        helper.make_node("Concat", ["zero", "one"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    constants = {"weights": weights, "bias": np.array([bias], np.float32), "unit": np.array([1], np.float32)}
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, WIDTH])]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    signature = Signature(
        inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, WIDTH)),),
        outputs=(
            TensorSpec(name="label", datatype="INT64", shape=(-1,)),
            TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),
        ),
    )
    x = np.random.default_rng(7).normal(size=(8, WIDTH)).astype(np.float32)
    golden = Golden(inputs={"X": x}, outputs=linear_answers(x, bias=bias + (1.0 if wrong else 0.0)))
    graph = _graph(nodes, inputs, outputs, constants)
    return _write(folder, graph, signature, golden, name=name)


def linear_answers(x: Array, *, bias: float = 0.0) -> Arrays:
    """What `linear_package` answers, by numpy."""
    weights = np.arange(1, WIDTH + 1, dtype=np.float32) / 10
    one = 1 / (1 + np.exp(-(np.asarray(x, np.float32) @ weights + np.float32(bias))))
    probabilities = np.stack([1 - one, one], axis=1).astype(np.float32)
    return {"label": probabilities.argmax(axis=1).astype(np.int64), "probabilities": probabilities}


def slow_package(folder: Path, *, rounds: int = 200, name: str = "slow") -> str:
    """`linear_package`'s signature on a graph that multiplies large matrices `rounds` times; returns its digest."""
    size = 192
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("MatMul", ["state_in", "square"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, [size, size]),
        ],
    )
    nodes = [
        # The state depends on the input, so that it cannot be folded away.
        helper.make_node("ReduceMean", ["X"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "square"], ["start"]),
        helper.make_node("Loop", ["rounds", "go", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Add", ["X", "zero"], ["same"]),
        helper.make_node("ReduceSum", ["same", "axis"], ["prediction"], keepdims=0),
    ]
    constants = {
        "square": np.full((size, size), 1 / size, np.float32), "rounds": np.array(rounds, np.int64),
        "go": np.array(True), "nothing": np.array(0, np.float32), "axis": np.array([1], np.int64),
    }  # fmt: skip
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, WIDTH])]
    outputs = [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None])]
    signature = Signature(
        inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, WIDTH)),),
        outputs=(TensorSpec(name="prediction", datatype="FP32", shape=(-1,)),),
    )
    x = np.ones((2, WIDTH), np.float32)
    golden = Golden(inputs={"X": x}, outputs={"prediction": x.sum(axis=1)})
    graph = _graph(nodes, inputs, outputs, constants)
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


def flights_like(folder: Path, *, name: str = "flights") -> str:
    """A classifier of ``distance`` FP64, ``carrier`` BYTES and ``delay`` nullable FP64; returns its digest."""
    nodes = [
        helper.make_node("Equal", ["carrier", "late"], ["is_late"]),
        helper.make_node("Cast", ["is_late"], ["late_number"], to=TensorProto.DOUBLE),
        helper.make_node("IsNaN", ["delay"], ["missing"]),
        helper.make_node("Where", ["missing", "zero_number", "delay"], ["filled"]),
        helper.make_node("Div", ["distance", "thousand"], ["far"]),
        helper.make_node("Add", ["late_number", "filled"], ["partial"]),
        helper.make_node("Sub", ["partial", "far"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["one"]),
        helper.make_node("Sub", ["unit", "one"], ["zero"]),
        helper.make_node("Concat", ["zero", "one"], ["probabilities"], axis=1),
        helper.make_node("Greater", ["score", "zero_number"], ["positive"]),
        helper.make_node("Where", ["positive", "yes", "no"], ["label_column"]),
        helper.make_node("Reshape", ["label_column", "flat"], ["label"]),
    ]
    constants = {
        "zero_number": np.array([0.0]), "thousand": np.array([1000.0]), "unit": np.array([1.0]),
        "flat": np.array([-1], np.int64), "late": np.array(["UA"], object),
        "yes": np.array(["late"], object), "no": np.array(["on time"], object),
    }  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("distance", TensorProto.DOUBLE, [None, 1]),
        helper.make_tensor_value_info("carrier", TensorProto.STRING, [None, 1]),
        helper.make_tensor_value_info("delay", TensorProto.DOUBLE, [None, 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, 2]),
    ]
    signature = Signature(
        inputs=(
            TensorSpec(name="distance", datatype="FP64", shape=(-1, 1)),
            TensorSpec(name="carrier", datatype="BYTES", shape=(-1, 1)),
            TensorSpec(name="delay", datatype="FP64", shape=(-1, 1), nullable=True),
        ),
        outputs=(
            TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
            TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 2)),
        ),
    )
    columns: Arrays = {
        "distance": np.array([[100.0], [900.0], [2000.0]]),
        "carrier": np.array([["UA"], ["B6"], ["UA"]], object),
        "delay": np.array([[0.5], [np.nan], [-1.0]]),
    }
    golden = Golden(inputs=columns, outputs=_flights_outputs(columns))
    graph = _graph(nodes, inputs, outputs, constants)
    return _write(folder, graph, signature, golden, name=name, classes=("on time", "late"))


def flights_answers(rows: list[dict[str, object]]) -> Arrays:
    """What `flights_like` answers to rows of ``distance``, ``carrier`` and ``delay`` (None where it is missing)."""
    delay = [np.nan if row["delay"] is None else row["delay"] for row in rows]
    return _flights_outputs({
        "distance": np.array([[row["distance"]] for row in rows], np.float64),
        "carrier": np.array([[row["carrier"]] for row in rows], object),
        "delay": np.array(delay, np.float64).reshape(-1, 1),
    })  # fmt: skip


def _flights_outputs(columns: Arrays) -> Arrays:
    score = (columns["carrier"] == "UA") + np.nan_to_num(columns["delay"]) - columns["distance"] / 1000
    one = 1 / (1 + np.exp(-score.astype(np.float64)))
    label = np.array(["late" if value > 0 else "on time" for value in score.ravel()], object)
    return {"label": label, "probabilities": np.concatenate([1 - one, one], axis=1)}


def echo_package(folder: Path, *, name: str = "echo") -> str:
    """``y`` is ``x``, FP32 ``[-1, 2]``, where a number may be missing; returns its digest."""
    tensor = {"datatype": "FP32", "shape": (-1, 2)}
    signature = Signature(
        inputs=(TensorSpec(name="x", nullable=True, **tensor),), outputs=(TensorSpec(name="y", **tensor),)
    )
    graph = _graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        {},
    )
    x = np.array([[1, 2]], np.float32)
    golden = Golden(inputs={"x": x}, outputs={"y": x})
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


def wide_package(folder: Path, *, width: int = 20, name: str = "wide") -> str:
    """A linear regression over ``x`` FP64 ``[-1, width]`` with the weights 0, 1, 2, ...; returns its digest."""
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, width)),),
        outputs=(TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),),
    )
    graph = _graph(
        [helper.make_node("MatMul", ["x", "weights"], ["prediction"])],
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, width])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None])],
        {"weights": np.arange(width, dtype=np.float64)},
    )
    x = np.random.default_rng(5).integers(-9, 9, size=(6, width)).astype(np.float64)
    golden = Golden(inputs={"x": x}, outputs={"prediction": x @ np.arange(width)})
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


WORDS = {"river": (3.0, 0.0, 1.0), "water": (2.0, 1.0, 0.5), "gate": (0.0, 2.0, -1.0), "": (0.0, 0.0, 0.0)}
UNKNOWN = (0.25, -0.5, 0.125)


def words_package(folder: Path, *, name: str = "words") -> str:
    """An encoder: the sum of a text's word vectors, of length one, and how many words it has; returns its digest."""
    nodes = [helper.make_node("StringSplit", ["text"], ["split", "tokens"], delimiter="")]
    for place in range(3):
        table = {"keys_strings": list(WORDS), "values_floats": [vector[place] for vector in WORDS.values()]}
        nodes += [
            helper.make_node(
                "LabelEncoder", ["split"], [f"w{place}"], domain="ai.onnx.ml", default_float=UNKNOWN[place], **table
            ),
            helper.make_node("ReduceSum", [f"w{place}", "last"], [f"s{place}"], keepdims=1),
        ]
    nodes += [
        helper.make_node("Concat", ["s0", "s1", "s2"], ["sum"], axis=1),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    signature = Signature(
        inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),),
        outputs=(
            TensorSpec(name="embedding", datatype="FP32", shape=(-1, 3)),
            TensorSpec(name="tokens", datatype="INT64", shape=(-1,)),
        ),
    )
    graph = _graph(
        nodes,
        [helper.make_tensor_value_info("text", TensorProto.STRING, [None])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, 3]),
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [None]),
        ],
        {"last": np.array([1], np.int64)},
        opset=20,
    )
    texts = ["river water", "gate", "a river", "water gate river"]
    golden = Golden(inputs={"text": np.array(texts, object)}, outputs=words_answers(texts))
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


def words_answers(texts: list[str]) -> Arrays:
    """What `words_package` answers, by numpy."""
    sums = np.array([np.sum([WORDS.get(word, UNKNOWN) for word in text.split()], axis=0) for text in texts])
    embedding = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
    return {"embedding": embedding, "tokens": np.array([len(text.split()) for text in texts])}


def half_plus_two_package(folder: Path, *, name: str = "half_plus_two") -> str:
    """Half of ``x`` and two, FP32 ``[-1]``: the model of TensorFlow Serving's documents; returns its digest."""
    tensor = {"datatype": "FP32", "shape": (-1,)}
    signature = Signature(inputs=(TensorSpec(name="x", **tensor),), outputs=(TensorSpec(name="y", **tensor),))
    graph = _graph(
        [helper.make_node("Mul", ["x", "half"], ["part"]), helper.make_node("Add", ["part", "two"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        {"half": np.array(0.5, np.float32), "two": np.array(2, np.float32)},
    )
    x = np.array([1, 2, 5], np.float32)
    golden = Golden(inputs={"x": x}, outputs={"y": x / 2 + 2})
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


def raising_package(folder: Path, *, name: str = "raising") -> str:
    """Looks up ``i`` INT64 ``[-1]`` in a table of four and raises where it is not in there; returns its digest."""
    signature = Signature(
        inputs=(TensorSpec(name="i", datatype="INT64", shape=(-1,)),),
        outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),),
    )
    graph = _graph(
        [helper.make_node("Gather", ["table", "i"], ["y"])],
        [helper.make_tensor_value_info("i", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        {"table": np.arange(4, dtype=np.float32)},
    )
    golden = Golden(inputs={"i": np.array([1, 3])}, outputs={"y": np.array([1, 3], np.float32)})
    return _write(folder, graph, signature, golden, name=name, task="regression", classes=())


def _graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
    opset: int = 19,
) -> bytes:
    weights = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, "model", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _write(
    folder: Path,
    graph: bytes,
    signature: Signature,
    golden: Golden,
    *,
    name: str,
    classes: tuple[str | int, ...] = (0, 1),
    task: Literal["classification", "regression"] = "classification",
) -> str:
    files = {"model/model.onnx": graph, GOLDEN: encode_golden(golden)}
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    manifest = Manifest(
        format=FORMAT,
        name=name,
        kind="onnx",
        engine="onnxruntime",
        entry="model/model.onnx",
        task=task,
        signature=signature,
        files={
            path: FileEntry(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for path, data in files.items()
        },
        classes=classes,
    )
    data = encode(manifest)
    (folder / MANIFEST).write_bytes(data)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
