"""Small trained models as graphs: convolutions, layers and trees that really tell handwritten digits apart."""

from __future__ import annotations

import lightgbm
import numpy as np
import onnx
import pandas as pd
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from penstock.build.trees.forest import forest_of
from penstock.build.trees.forest_nodes import label_nodes, nodes_of

PIXELS, TRUTH = load_digits(return_X_y=True)
PIXELS = (PIXELS / 16).astype(np.float32)
TRAINED = 900
ROWS = PIXELS[TRAINED:]


def digits() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and validation rows, 64 columns and ``digit``."""
    frame = pd.DataFrame(PIXELS, columns=[f"p{at}" for at in range(64)]).assign(digit=TRUTH)
    return frame[:TRAINED].reset_index(drop=True), frame[TRAINED:].reset_index(drop=True)


def layers(width: int = 256) -> ModelProto:
    """Two hidden layers, trained."""
    net = MLPClassifier((width, width), max_iter=60, random_state=0, early_stopping=False)
    net.fit(PIXELS[:TRAINED], TRUTH[:TRAINED])
    weights = {f"w{at}": one.astype(np.float32) for at, one in enumerate(net.coefs_)}
    weights |= {f"b{at}": one.astype(np.float32) for at, one in enumerate(net.intercepts_)}
    nodes, given = [], "rows"
    for at in range(3):
        nodes.append(helper.make_node("Gemm", [given, f"w{at}", f"b{at}"], [f"sum{at}"]))
        if at < 2:
            nodes.append(helper.make_node("Relu", [f"sum{at}"], [f"layer{at}"]))
            given = f"layer{at}"
    return classifier(nodes, "sum2", weights)


def convolutions(channels: int = 48) -> ModelProto:
    """Two convolutions of random filters, and a layer on top that was trained on what they give."""
    chance = np.random.default_rng(0)
    first = (chance.normal(size=(channels, 1, 3, 3)) / 3).astype(np.float32)
    second = (chance.normal(size=(channels, channels, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
    weights = {"shape": np.array([-1, 1, 8, 8]), "first": first, "second": second}
    nodes = [
        helper.make_node("Reshape", ["rows", "shape"], ["picture"]),
        helper.make_node("Conv", ["picture", "first"], ["one"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["one"], ["one_on"]),
        helper.make_node("Conv", ["one_on", "second"], ["two"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["two"], ["two_on"]),
        helper.make_node("Flatten", ["two_on"], ["flat"]),
    ]
    body = classifier(nodes, "flat", weights, output="flat")
    session = session_of(body)
    (features,) = session.run(["flat"], {"rows": PIXELS[:TRAINED]})
    top = LogisticRegression(max_iter=300, C=0.1).fit(features, TRUTH[:TRAINED])
    weights |= {"top": top.coef_.T.astype(np.float32), "bias": top.intercept_.astype(np.float32)}
    return classifier([*nodes, helper.make_node("Gemm", ["flat", "top", "bias"], ["scores"])], "scores", weights)


def trees(count: int = 20) -> ModelProto:
    """A boosted forest, as the build writes one."""
    booster = lightgbm.LGBMClassifier(n_estimators=count, num_leaves=15, verbose=-1, n_jobs=1, random_state=0)
    booster.fit(PIXELS[:TRAINED], TRUTH[:TRAINED])
    nodes = [*nodes_of(forest_of(booster), "rows", "chances"), *label_nodes("chances", "label", list(range(10)))]
    nodes.append(helper.make_node("Cast", ["chances"], ["probabilities"], to=TensorProto.FLOAT))
    return whole(nodes, {})


def votes(count: int = 30) -> ModelProto:
    """A forest whose trees say of each class how likely it is, as skl2onnx writes one."""
    forest = RandomForestClassifier(count, max_depth=9, random_state=0, n_jobs=1).fit(PIXELS[:TRAINED], TRUTH[:TRAINED])
    kinds = [("rows", FloatTensorType([None, 64]))]
    options = {id(forest): {"zipmap": False}}
    found: ModelProto = convert_sklearn(
        forest, initial_types=kinds, options=options, target_opset={"": 18, "ai.onnx.ml": 3}
    )
    return found


def classifier(nodes: list[NodeProto], scores: str, weights: dict[str, np.ndarray], *, output: str = "") -> ModelProto:
    """Nodes with what makes label and probabilities of their scores; `output` gives that tensor alone instead."""
    if output:
        return whole(nodes, weights, outputs=[helper.make_empty_tensor_value_info(output)])
    ends = [
        helper.make_node("Softmax", [scores], ["probabilities"], axis=1),
        helper.make_node("ArgMax", [scores], ["label"], axis=1, keepdims=0),
    ]
    return whole([*nodes, *ends], weights)


def whole(nodes: list[NodeProto], weights: dict[str, np.ndarray], outputs: list | None = None) -> ModelProto:
    """A checked model over ``rows``."""
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, 64])],
        outputs
        or [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 10]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=sets, ir_version=9)


def session_of(model: ModelProto | bytes):  # type: ignore[no-untyped-def]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def spoiled(model: ModelProto, name: str, share: float) -> ModelProto:
    """A copy that lost accuracy: a share of a weight's spread added to it as noise."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for one in copy.graph.initializer:
        if one.name == name:
            values = numpy_helper.to_array(one)
            noise = np.random.default_rng(1).normal(size=values.shape) * values.std() * share
            one.CopyFrom(numpy_helper.from_array((values + noise).astype(np.float32), name))
    return copy
