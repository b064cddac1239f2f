"""A sentence encoder from a Hugging Face folder: texts to vectors, by numpy alone.

    texts -> WordPiece -> ids -> BERT (safetensors) -> mean or first token -> of length one, where the folder says so

What comes in: the folder as one archive. What goes out: ``prediction`` (``(rows, size)``, FP32) and ``tokens``
(``(rows,)``). Nothing of the folder is run: it is numbers and lists of words. Each text is computed by itself, so that
its answer does not hang on who else asked. Source: Devlin et al., 2019; sentence-transformers' ``modules.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from penstock.errors import BadConfig, Corrupt, InvalidInput
from penstock.runtime.safetensors import Tensors, read_tensors
from penstock.runtime.wordpiece import WordPiece
from penstock.tensors import Array, Arrays

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
LIMITS = "sentence_bert_config.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER, MODULES, POOLING, LIMITS)
"""All that is read of a folder; the last may be missing."""
MAX_FILE_BYTES = 2 << 30
Floats32 = npt.NDArray[np.float32]
Tree = dict[str, object]


class TextEncoder:
    """A BERT with a way to make one vector of its tokens'.

    Args:
        files: Contents by name.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        config, pooling = _tree(files, CONFIG), _tree(files, POOLING)
        _require(config.get("model_type") == "bert" and config.get("hidden_act") == "gelu", CONFIG)
        _require(config.get("position_embedding_type", "absolute") == "absolute", CONFIG)
        mean, first = pooling.get("pooling_mode_mean_tokens"), pooling.get("pooling_mode_cls_token")
        others = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
        _require(len(others) == 1 and (mean is True or first is True), POOLING)
        self._mean = mean is True
        steps = [str(one.get("type", "")).rpartition(".")[2] for one in _steps(files)]
        _require(steps in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]), MODULES)
        self._normalize = steps[-1] == "Normalize"
        self._heads = _count(config, "num_attention_heads")
        self._layers = _count(config, "num_hidden_layers")
        epsilon = config.get("layer_norm_eps")
        _require(type(epsilon) is float and 0 < epsilon < 1, CONFIG)
        self._epsilon = np.float32(cast("float", epsilon))
        self.size = _count(config, "hidden_size")
        self._weights = _weights(read_tensors(files[WEIGHTS]), self.size, self._layers)
        most = _count(config, "max_position_embeddings")
        if LIMITS in files:
            most = min(most, _count(_tree(files, LIMITS), "max_seq_length"))
        self._tokenizer = WordPiece(files[TOKENIZER], most)
        if self._tokenizer.highest >= len(self._weights["embeddings.word_embeddings.weight"]):
            raise InvalidInput("the tokenizer has words that the weights lack", "save the model again", where=TOKENIZER)

    def predict(self, texts: Array) -> Floats32:
        """One vector a text."""
        return cast("Floats32", self.answer_arrays({"text": texts})["prediction"])

    def answer_arrays(self, arrays: Mapping[str, Array]) -> Arrays:
        """Vectors and numbers of tokens."""
        (texts,) = arrays.values()
        ids = [self._tokenizer.ids(str(text)) for text in texts.reshape(-1)]
        vectors = np.empty((len(ids), self.size), np.float32)
        for place, some in enumerate(ids):
            vectors[place] = self._vector(np.array(some))
        return {"prediction": vectors, "tokens": np.array([len(some) for some in ids], np.int64)}

    def _vector(self, ids: npt.NDArray[np.int64]) -> Floats32:
        hidden = self._embedded(ids)
        for layer in range(self._layers):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
        vector = hidden.mean(axis=0) if self._mean else hidden[0]
        return cast("Floats32", vector / max(float(np.linalg.norm(vector)), 1e-12) if self._normalize else vector)

    def _embedded(self, ids: npt.NDArray[np.int64]) -> Floats32:
        weights = self._weights
        words = weights["embeddings.word_embeddings.weight"][ids]
        places = weights["embeddings.position_embeddings.weight"][: len(ids)]
        kinds = weights["embeddings.token_type_embeddings.weight"][0]
        return self._normed(words + places + kinds, "embeddings.LayerNorm")

    def _layer(self, hidden: Floats32, name: str) -> Floats32:
        mixed = self._attention(hidden, f"{name}attention.self.")
        hidden = self._normed(
            hidden + self._dense(mixed, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
        )
        inner = _gelu(self._dense(hidden, f"{name}intermediate.dense"))
        return self._normed(hidden + self._dense(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _attention(self, hidden: Floats32, name: str) -> Floats32:
        width = self.size // self._heads
        query, key, value = (
            self._dense(hidden, f"{name}{part}").reshape(len(hidden), self._heads, width).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.float32(width**0.5)
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        scores /= scores.sum(axis=2, keepdims=True)
        return cast("Floats32", (scores @ value).transpose(1, 0, 2).reshape(len(hidden), self.size))

    def _dense(self, hidden: Floats32, name: str) -> Floats32:
        return cast("Floats32", hidden @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _normed(self, hidden: Floats32, name: str) -> Floats32:
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + self._epsilon)
        return cast("Floats32", centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


def open_encoder(path: Path) -> TextEncoder:
    """The encoder of an archive.

    Raises:
        BadConfig: Its architecture is none that is computed here.
        Corrupt: It is not whole.
    """
    return TextEncoder(read_folder(path))


def read_folder(path: Path) -> dict[str, bytes]:
    """The files that are read, by name.

    Raises:
        Corrupt: It is no archive, or lacks one.
    """
    try:
        with ZipFile(path) as archive:
            names = set(archive.namelist())
            missing = [name for name in FILES[:-1] if name not in names]
            if missing:
                raise Corrupt(f"the model's folder lacks {missing[0]}", "save the model again", code="build.folder")
            if any(archive.getinfo(name).file_size > MAX_FILE_BYTES for name in FILES if name in names):
                raise Corrupt("a file of the model's folder is too large", "two gibibytes are the most")
            return {name: archive.read(name) for name in FILES if name in names}
    except BadZipFile:
        raise Corrupt("the model's archive is damaged", "package it again", code="build.folder") from None


def _weights(tensors: Tensors, size: int, layers: int) -> dict[str, Floats32]:
    """The tensors that are computed with, without the prefix that some folders give them."""
    found = {name.removeprefix("bert."): cast("Floats32", array) for name, array in tensors.items()}
    parts = ["embeddings.word_embeddings", "embeddings.position_embeddings", "embeddings.token_type_embeddings"]
    needed = [f"{part}.weight" for part in parts] + ["embeddings.LayerNorm.weight"]
    needed += [f"encoder.layer.{layer}.output.dense.weight" for layer in range(layers)]
    for name in needed:
        if name not in found or size not in found[name].shape or found[name].dtype != np.float32:
            raise InvalidInput("the weights are not those of the configuration", "save the model again", where=WEIGHTS)
    return found


def _gelu(x: Floats32) -> Floats32:
    """With the error function by Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7: that of FP32."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    return cast("Floats32", (0.5 * x * (1 + erf)).astype(np.float32))


def _tree(files: Mapping[str, bytes], name: str) -> Tree:
    try:
        tree = json.loads(files[name])
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise InvalidInput("this is no JSON object", "save the model again", where=name)
    return tree


def _steps(files: Mapping[str, bytes]) -> list[Tree]:
    try:
        steps = json.loads(files[MODULES])
    except (ValueError, RecursionError):
        steps = None
    _require(isinstance(steps, list) and all(isinstance(one, dict) for one in steps), MODULES)
    return cast("list[Tree]", steps)


def _count(tree: Tree, name: str) -> int:
    value = tree.get(name)
    if type(value) is not int or not 0 < value < 1 << 20:
        raise InvalidInput("this is no whole number", "save the model again", where=name)
    return value


def _require(fits: bool, where: str) -> None:
    if not fits:
        raise BadConfig(
            "the folder's architecture is none that is computed here",
            "known are BERT encoders with mean or first-token pooling; export others to ONNX",
            where=where,
            code="build.architecture",
        )
