"""A text network as an ONNX graph: standard operators, in FP32, straight from its weights.

    ids, mask, types (rows, length) -> embeddings -> layers -> first token | mean -> vector | label and probabilities

What comes in: a `Network`. What goes out: a graph that answers what `penstock.runtime.encoder` does, for any number of
rows of any length; what the mask hides changes no answer. How texts become ids stands in its metadata
(`penstock.runtime.textfront`). Query, key and value are one product, their scale in it. Source: Vaswani et al., 2017.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

from penstock.build.graphs.apart import APART_BYTES, LARGE_BYTES, NumbersPlace, settle
from penstock.runtime.network import Floats32, Network
from penstock.runtime.textfront import IDS, MASK, TYPES

OPSET = 21
IR_VERSION = 10
HIDDEN = -30_000.0
"""Added to the score of a filled up place: its power is zero, in FP16, too."""
_FREE = ["rows", "length"]


def text_graph(network: Network, *, types: bool, apart_bytes: int = APART_BYTES) -> ModelProto:
    """The graph; the numbers of a large one lie in the working folder.

    Args:
        network: What is computed.
        types: Whether it is told of which text a token is; all are of the first if not.
        apart_bytes: So many bytes of weights are set apart.
    """
    if sum(array.nbytes for array in network.weights.values()) < apart_bytes:
        return _TextGraph(network, types).made()
    with NamedTemporaryFile(dir=Path.cwd(), prefix="weights-") as store:
        graph = _TextGraph(network, types, store)
        model = graph.made()
        store.flush()
        places = {at: NumbersPlace(Path(store.name), *place) for at, place in graph.places.items()}
        settle(model, places, Path.cwd(), apart_bytes=apart_bytes)
    return model


class _TextGraph:
    """Nodes and constants, as they come about."""

    def __init__(self, network: Network, types: bool, store: IO[bytes] | None = None) -> None:
        self.places: dict[int, tuple[int, int]] = {}
        self._store = store
        self._network = network
        self._weights = network.weights
        self._types = types
        self._model = ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", OPSET)])
        self._graph = self._model.graph
        self._graph.name = "text"
        self._count = 0

    def made(self) -> ModelProto:
        """All of it."""
        network = self._network
        for name in (IDS, MASK, TYPES)[: 3 if self._types else 2]:
            self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, _FREE))
        shown = self._node("Cast", [MASK], to=TensorProto.FLOAT)
        hidden = self._embedded()
        hides = self._node("Unsqueeze", [self._hides(shown), self._ints([1, 2])])
        if network.family.near:
            hides = self._node("Add", [hides, self._distances()])
        for at in range(network.layers):
            hidden = self._layer(hidden, f"encoder.layer.{at}.", hides)
        vector = self._mean(hidden, shown) if network.pooling == "mean" else self._first(hidden)
        if network.labels:
            self._classified(vector)
        else:
            self._vector(vector)
        return self._model

    def _embedded(self) -> str:
        weights = self._weights
        places = weights["embeddings.position_embeddings.weight"]
        kinds = weights.get("embeddings.token_type_embeddings.weight")
        if kinds is not None and not self._types:
            places = places + kinds[0]
        words = self._node("Gather", [self._constant(weights["embeddings.word_embeddings.weight"]), IDS])
        hidden = self._node("Add", [words, self._places(places)])
        if kinds is not None and self._types:
            hidden = self._node("Add", [hidden, self._node("Gather", [self._constant(kinds), TYPES])])
        return self._normed(hidden, "embeddings.LayerNorm")

    def _places(self, table: Floats32) -> str:
        """What each place adds: from the first on, or from behind the padding's id, which counts for nothing."""
        if not self._network.family.pads:
            return self._node("Slice", [self._constant(table), self._ints([0]), self._length(), self._ints([0])])
        pad = self._constant(np.array(self._network.pad, np.int64))
        real = self._node("Cast", [self._node("Not", [self._node("Equal", [IDS, pad])])], to=TensorProto.INT64)
        counted = self._node("CumSum", [real, self._constant(np.array(1, np.int64))])
        place = self._node("Add", [self._node("Mul", [counted, real]), pad])
        return self._node("Gather", [self._constant(table), place])

    def _length(self) -> str:
        """Tokens of a row, ``(1,)``."""
        return self._node("Shape", [IDS], start=1, end=2)

    def _hides(self, shown: str) -> str:
        """Zero for what counts, far below for what does not."""
        less = self._node("Sub", [shown, self._constant(np.array(1, np.float32))])
        return self._node("Mul", [less, self._constant(np.array(-HIDDEN, np.float32))])

    def _distances(self) -> str:
        """What each pair of places weighs, ``(1, heads, length, length)``."""
        most = self._network.most
        length = self._node("Squeeze", [self._length(), self._ints([0])])
        zero, one = (self._constant(np.array(number, np.int64)) for number in (0, 1))
        places = self._node("Range", [zero, length, one])
        other = self._node("Unsqueeze", [places, self._ints([1])])
        apart = self._node("Sub", [places, other])
        found = self._node("Add", [apart, self._constant(np.array(most - 1, np.int64))])
        weighed = self._node("Gather", [self._constant(self._network.near(most)), found])
        return self._node("Unsqueeze", [self._node("Transpose", [weighed], perm=[2, 0, 1]), self._ints([0])])

    def _layer(self, hidden: str, name: str, hides: str) -> str:
        mixed = self._attention(hidden, f"{name}attention.self.", hides)
        mixed = self._dense(mixed, f"{name}attention.output.dense")
        hidden = self._normed(self._node("Add", [hidden, mixed]), f"{name}attention.output.LayerNorm")
        inner = self._dense(hidden, f"{name}intermediate.dense")
        inner = self._node("Gelu" if self._network.activation == "gelu" else "Relu", [inner])
        inner = self._dense(inner, f"{name}output.dense")
        return self._normed(self._node("Add", [hidden, inner]), f"{name}output.LayerNorm")

    def _attention(self, hidden: str, name: str, hides: str) -> str:
        size, heads = self._network.size, self._network.heads
        width = size // heads
        scale = np.float32(width**-0.5)
        parts = [(self._weights[f"{name}{one}.weight"], self._weights[f"{name}{one}.bias"]) for one in _ATTENDED]
        weight = np.concatenate([parts[0][0] * scale, parts[1][0], parts[2][0]]).T
        bias = np.concatenate([parts[0][1] * scale, parts[1][1], parts[2][1]])
        product = self._node("MatMul", [hidden, self._constant(np.ascontiguousarray(weight))])
        product = self._node("Add", [product, self._constant(bias)])
        apart = self._nodes("Split", [product], 3, axis=-1, num_outputs=3)
        shape = self._ints([0, 0, heads, width])
        query, key, value = (
            self._node("Transpose", [self._node("Reshape", [one, shape])], perm=perm)
            for one, perm in zip(apart, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        scores = self._node("Add", [self._node("MatMul", [query, key]), hides])
        mixed = self._node("MatMul", [self._node("Softmax", [scores], axis=-1), value])
        mixed = self._node("Transpose", [mixed], perm=[0, 2, 1, 3])
        return self._node("Reshape", [mixed, self._ints([0, 0, size])])

    def _first(self, hidden: str) -> str:
        """The first token's numbers, ``(rows, size)``."""
        return self._node("Gather", [hidden, self._constant(np.array(0, np.int64))], axis=1)

    def _mean(self, hidden: str, shown: str) -> str:
        """The mean of the tokens that count."""
        kept = self._node("Mul", [hidden, self._node("Unsqueeze", [shown, self._ints([2])])])
        total = self._node("ReduceSum", [kept, self._ints([1])], keepdims=0)
        return self._node("Div", [total, self._node("ReduceSum", [shown, self._ints([1])], keepdims=1)])

    def _vector(self, vector: str) -> None:
        """The two outputs of an encoder."""
        if self._network.normalize:
            length = self._node("ReduceL2", [vector, self._ints([1])], keepdims=1)
            vector = self._node("Div", [vector, self._node("Max", [length, self._constant(np.array(1e-12, "f4"))])])
        self._put(vector, "prediction", TensorProto.FLOAT, ["rows", self._network.size])
        self._put(self._node("ReduceSum", [MASK, self._ints([1])], keepdims=0), "tokens", TensorProto.INT64, ["rows"])

    def _classified(self, vector: str) -> None:
        """The outputs of a classifier, or of one that answers a number."""
        network = self._network
        inner = self._node(
            "Tanh" if network.family.activation == "tanh" else "Relu", [self._dense(vector, "head.dense")]
        )
        ends = self._dense(inner, "head.out")
        if not network.classes:
            self._put(self._node("Squeeze", [ends, self._ints([1])]), "prediction", TensorProto.FLOAT, ["rows"])
            return
        likely = self._node("Sigmoid", [ends]) if network.several else self._node("Softmax", [ends], axis=-1)
        largest = self._node("ArgMax", [ends], axis=1, keepdims=0)
        if isinstance(network.classes[0], int):
            self._put(largest, "label", TensorProto.INT64, ["rows"])
        else:
            names = self._constant(np.array(network.classes, object))
            self._put(self._node("Gather", [names, largest]), "label", TensorProto.STRING, ["rows"])
        self._put(likely, "probabilities", TensorProto.FLOAT, ["rows", len(network.classes)])

    def _dense(self, hidden: str, name: str) -> str:
        weight = self._constant(np.ascontiguousarray(self._weights[f"{name}.weight"].T))
        return self._node(
            "Add", [self._node("MatMul", [hidden, weight]), self._constant(self._weights[f"{name}.bias"])]
        )

    def _normed(self, hidden: str, name: str) -> str:
        scale, bias = (self._constant(self._weights[f"{name}.{one}"]) for one in ("weight", "bias"))
        return self._node("LayerNormalization", [hidden, scale, bias], axis=-1, epsilon=self._network.epsilon)

    def _put(self, result: str, name: str, element: int, shape: list[str | int]) -> None:
        """Name an output."""
        self._graph.node.append(helper.make_node("Identity", [result], [name]))
        self._graph.output.append(helper.make_tensor_value_info(name, element, shape))

    def _node(self, operator: str, inputs: list[str], **attributes: int | float | list[int]) -> str:
        (output,) = self._nodes(operator, inputs, 1, **attributes)
        return output

    def _nodes(
        self, operator: str, inputs: list[str], outputs: int, **attributes: int | float | list[int]
    ) -> list[str]:
        names = [self._fresh(operator.lower()) for _ in range(outputs)]
        node = helper.make_node(operator, inputs, names, name=names[0])
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._graph.node.append(node)
        return names

    def _constant(self, array: npt.NDArray[np.generic]) -> str:
        name = self._fresh("constant")
        if self._store is None or array.nbytes < LARGE_BYTES:
            self._graph.initializer.append(numpy_helper.from_array(array, name))
            return name
        # Written at once: no second copy of what a large network holds.
        self.places[len(self._graph.initializer)] = (self._store.tell(), array.nbytes)
        self._store.write(np.ascontiguousarray(array).data.cast("B"))
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        self._graph.initializer.append(TensorProto(name=name, data_type=element, dims=array.shape))
        return name

    def _ints(self, numbers: list[int]) -> str:
        return self._constant(np.array(numbers, np.int64))

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"


_ATTENDED = ("query", "key", "value")
