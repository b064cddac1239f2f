"""A text network from a Hugging Face folder, by numpy alone: what its graph is held against, or what answers.

    texts -> ids -> BERT or a relative (safetensors) -> one vector -> as it is | label and probabilities

What comes in: the folder as one archive. What goes out: of an encoder ``prediction`` (``(rows, size)``, FP32) and
``tokens`` (``(rows,)``); of a classifier ``label`` and ``probabilities``; of one with a single number ``prediction``
(``(rows,)``). Nothing of the folder is run: it is numbers and lists of words. Each text is computed by itself, so that
its answer does not hang on who else asked. Source: Devlin et al., 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock.runtime.hubfolder import NONE_MAPPED, Weights, read_folder, read_weights
from penstock.runtime.network import Floats32, Network, read_network
from penstock.runtime.safetensors import Widen, widened
from penstock.runtime.tokenizer import Tokenizer, Tree
from penstock.runtime.vocabulary import SETTINGS, TOKENIZER, parsed, tokenizer_tree
from penstock.tensors import Array, Arrays


class TextEncoder:
    """A network with the tokenizer before it.

    Args:
        files: Contents by name.
        mapped: Of files of weights that are not among them.
        widen: As `penstock.runtime.safetensors.read_tensors` takes it.

    Attributes:
        network: What is computed.
        tree: Its tokenizer, as `penstock.runtime.tokenizer.Tokenizer` takes it.
        types: Whether the network is told of which text a token is.
    """

    def __init__(self, files: Mapping[str, bytes], mapped: Weights = NONE_MAPPED, *, widen: Widen = widened) -> None:
        self.network = read_network(files, read_weights(files, mapped, widen))
        self._weights = self.network.weights
        self.tree: Tree = tokenizer_tree(files)
        self.tokenizer = Tokenizer(self.tree, self.network.most)
        self.types = self.network.family.types > 1 and _tells_types(files)
        if self.tokenizer.highest >= len(self._weights["embeddings.word_embeddings.weight"]):
            raise InvalidInput("the tokenizer has words that the weights lack", "save the model again", where=TOKENIZER)

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return self.network.size

    def predict(self, texts: Array) -> Floats32:
        """One vector a text, or one number."""
        return cast("Floats32", self.answer_arrays({"text": texts})["prediction"])

    def answer_arrays(self, arrays: Mapping[str, Array]) -> Arrays:
        """Answers to the texts of one column, or to the pairs of two."""
        columns = [[str(text) for text in array.reshape(-1)] for array in arrays.values()]
        encoded = [self.tokenizer.encoded(*texts) for texts in zip(*columns, strict=True)]
        network = self.network
        ends = np.empty((len(encoded), len(network.labels) or network.size), np.float32)
        for place, (ids, types) in enumerate(encoded):
            ends[place] = self._end(np.array(ids), np.array(types if self.types else [0] * len(ids)))
        if not network.labels:
            return {"prediction": ends, "tokens": np.array([len(ids) for ids, _ in encoded], np.int64)}
        if not network.classes:
            return {"prediction": ends[:, 0]}
        named = np.array(network.classes, np.int64 if isinstance(network.classes[0], int) else object)
        return {"label": named[ends.argmax(axis=1)], "probabilities": _likely(ends, network)}

    def _end(self, ids: npt.NDArray[np.int64], types: npt.NDArray[np.int64]) -> Floats32:
        """The vector of one text, or what a classifier makes of it."""
        hidden = self._embedded(ids, types)
        distances = self._distances(len(ids))
        for layer in range(self.network.layers):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.", distances)
        vector = hidden.mean(axis=0) if self.network.pooling == "mean" else hidden[0]
        if self.network.labels:
            inner = self._dense(vector, "head.dense")
            inner = np.tanh(inner) if self.network.family.activation == "tanh" else np.maximum(inner, 0)
            return self._dense(inner, "head.out")
        length = max(float(np.linalg.norm(vector)), 1e-12) if self.network.normalize else 1.0
        return cast("Floats32", vector / np.float32(length))

    def _embedded(self, ids: npt.NDArray[np.int64], types: npt.NDArray[np.int64]) -> Floats32:
        weights = self._weights
        words = weights["embeddings.word_embeddings.weight"][ids]
        places = np.arange(len(ids))
        if self.network.family.pads:
            real = (ids != self.network.pad).astype(np.int64)
            places = real.cumsum() * real + self.network.pad
        words = words + weights["embeddings.position_embeddings.weight"][places]
        if self.network.family.types:
            words = words + weights["embeddings.token_type_embeddings.weight"][types]
        return self._normed(words, "embeddings.LayerNorm")

    def _layer(self, hidden: Floats32, name: str, distances: Floats32 | None) -> Floats32:
        mixed = self._attention(hidden, f"{name}attention.self.", distances)
        hidden = self._normed(
            hidden + self._dense(mixed, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
        )
        inner = self._dense(hidden, f"{name}intermediate.dense")
        inner = _gelu(inner) if self.network.activation == "gelu" else np.maximum(inner, 0)
        return self._normed(hidden + self._dense(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attention(self, hidden: Floats32, name: str, distances: Floats32 | None) -> Floats32:
        heads = self.network.heads
        width = self.size // heads
        query, key, value = (
            self._dense(hidden, f"{name}{part}").reshape(len(hidden), heads, width).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(width**0.5)
        if distances is not None:
            scores = scores + distances
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
        return cast("Floats32", (scores @ value).transpose(1, 0, 2).reshape(len(hidden), self.size))

    def _distances(self, length: int) -> Floats32 | None:
        """What each pair of places weighs, ``(heads, length, length)``; None where they do not."""
        if not self.network.family.near:
            return None
        places = np.arange(length)
        near = self.network.near(length)[places - places[:, None] + length - 1]
        return cast("Floats32", near.transpose(2, 0, 1))

    def _dense(self, hidden: Floats32, name: str) -> Floats32:
        return cast("Floats32", hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _normed(self, hidden: Floats32, name: str) -> Floats32:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + np.float32(self.network.epsilon))
        return cast("Floats32", centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


def open_encoder(path: Path, *, widen: Widen = widened) -> TextEncoder:
    """The network of an archive.

    Args:
        path: Its.
        widen: As `penstock.runtime.safetensors.read_tensors` takes it.

    Raises:
        BadConfig: Its architecture is none that is computed here.
        Corrupt: It is not whole.
    """
    return TextEncoder(*read_folder(path), widen=widen)


def _tells_types(files: Mapping[str, bytes]) -> bool:
    """Whether the tokenizer hands types on; transformers' usual ones do."""
    names = parsed(files, SETTINGS).get("model_input_names") if SETTINGS in files else None
    return not isinstance(names, list) or "token_type_ids" in names


def _likely(ends: Floats32, network: Network) -> Floats32:
    """Probabilities: of each label by itself, or of all together."""
    if network.several:
        return cast("Floats32", 1 / (1 + np.exp(-ends)))
    powers = np.exp(ends - ends.max(axis=1, keepdims=True))
    return cast("Floats32", powers / powers.sum(axis=1, keepdims=True))


def _gelu(x: Floats32) -> Floats32:
    """With the error function by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7: that of FP32."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    return cast("Floats32", (0.5 * x * (1 + erf)).astype(np.float32))
