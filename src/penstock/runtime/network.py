"""BERT and its relatives as one network: what a folder's configuration and weights say, under one set of names.

    config.json + modules.json + tensors -> Network: sizes, how positions are told, weights, and what is made of the end

What comes in: contents by name. What goes out: a `Network`, every weight in it of the shape that it must have, by
BERT's own names; ``head.dense`` and ``head.out`` are a classifier's two layers. An architecture that is not known here
is refused, not guessed. Source: transformers, models/{bert,distilbert,roberta,mpnet}; sentence-transformers' modules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.errors import BadConfig, InvalidInput
from penstock.runtime.families import FAMILIES, Family
from penstock.runtime.safetensors import Tensors
from penstock.runtime.tokenizer import Tree
from penstock.runtime.vocabulary import SETTINGS, parsed

CONFIG = "config.json"
MODULES = "modules.json"
POOLING = "1_Pooling/config.json"
LIMITS = "sentence_bert_config.json"
BUCKETS, FARTHEST = 32, 128
"""Of MPNet's distances between tokens."""
Floats32 = npt.NDArray[np.float32]


_DISTILBERT = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
_PLACEHOLDER = re.compile(r"LABEL_\d+")


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What is computed.

    Attributes:
        family: How its architecture differs.
        size: Numbers of one token.
        heads: Of an attention.
        layers: How many.
        inner: Numbers of one token between a layer's two dense ones.
        activation: Of those: ``gelu`` or ``relu``.
        epsilon: Of the norms.
        most: Tokens of a text, those around it included.
        pad: Id of the padding, behind which positions are counted where the family does so.
        pooling: ``mean`` or ``first`` token; of a classifier ``first``.
        normalize: A vector of length one is made of it.
        labels: Of a classifier, by number; one alone is a number.
        several: Each label has a probability of its own.
        weights: By BERT's names.
    """

    family: Family
    size: int
    heads: int
    layers: int
    inner: int
    activation: str
    epsilon: float
    most: int
    pad: int
    pooling: str
    normalize: bool
    labels: tuple[str, ...]
    several: bool
    weights: dict[str, Floats32]

    @property
    def classes(self) -> tuple[str | int, ...]:
        """Labels of a classifier; their numbers where nobody named them; none where it answers a number or a vector."""
        if len(self.labels) < 2:
            return ()
        return tuple(range(len(self.labels))) if all(map(_PLACEHOLDER.fullmatch, self.labels)) else self.labels

    def near(self, length: int) -> Floats32:
        """What each distance between two tokens weighs, ``(2 * length - 1, heads)``, from the farthest before."""
        return self.weights["encoder.relative_attention_bias.weight"][_buckets(np.arange(1 - length, length))]


def read_network(files: Mapping[str, bytes], tensors: Tensors) -> Network:
    """The network of a folder.

    Raises:
        BadConfig: Its architecture is none that is computed here.
        InvalidInput: The weights are not those of the configuration.
    """
    config = parsed(files, CONFIG)
    kind = str(config.get("model_type"))
    family = FAMILIES.get(kind)
    if family is None:
        raise _unknown(CONFIG)
    if kind == "distilbert":
        config = {**config, **{name: config.get(own) for name, own in _DISTILBERT.items()}, "layer_norm_eps": 1e-12}
        require(config.get("sinusoidal_pos_embds") in (None, False), CONFIG)
    require(config.get("hidden_act") in ("gelu", "relu"), CONFIG)
    require(config.get("position_embedding_type", "absolute") == "absolute", CONFIG)
    require(not config.get("is_decoder") and not config.get("add_cross_attention"), CONFIG)
    require("auto_map" not in config, CONFIG)  # code of its own might compute otherwise
    require(not family.near or config.get("relative_attention_num_buckets", BUCKETS) == BUCKETS, CONFIG)
    epsilon = config.get("layer_norm_eps")
    require(type(epsilon) is float and 0 < epsilon < 1, CONFIG)
    pooling, normalize = _pooling(files) if MODULES in files else ("first", False)
    labels = () if MODULES in files else _labels(config, family)
    pad = 1 if family.near else _pad(config) if family.pads else 0
    size, heads = count(config, "hidden_size"), count(config, "num_attention_heads")
    require(size % heads == 0, CONFIG)
    problem = config.get("problem_type")
    require(problem in (None, "regression", "single_label_classification", "multi_label_classification"), CONFIG)
    require(problem != "regression" or len(labels) < 2, CONFIG)
    network = Network(
        family=family,
        size=size,
        heads=heads,
        layers=count(config, "num_hidden_layers"),
        inner=count(config, "intermediate_size"),
        activation=cast("str", config["hidden_act"]),
        epsilon=cast("float", epsilon),
        most=_most(files, config, pad + 1 if family.pads else 0),
        pad=pad,
        pooling=pooling,
        normalize=normalize,
        labels=labels,
        several=problem == "multi_label_classification" and len(labels) > 1,
        weights={},
    )
    return msgspec.structs.replace(network, weights=_weights(tensors, network, config))


def count(tree: Tree, name: str) -> int:
    """A whole number above zero.

    Raises:
        InvalidInput: It is none.
    """
    value = tree.get(name)
    if type(value) is not int or not 0 < value < 1 << 20:
        raise InvalidInput("this is no whole number", "save the model again", where=name)
    return value


def require(fits: bool, where: str) -> None:
    """Refuse what is not computed here.

    Raises:
        BadConfig: It does not fit.
    """
    if not fits:
        raise _unknown(where)


def _unknown(where: str) -> BadConfig:
    return BadConfig(
        "the folder's architecture is none that is computed here",
        "known are BERT, DistilBERT, RoBERTa and MPNet: sentence encoders with mean or first-token pooling, as "
        "sentence-transformers saves them, and ...ForSequenceClassification; export others to ONNX",
        where=where,
        code="build.architecture",
    )


def _pooling(files: Mapping[str, bytes]) -> tuple[str, bool]:
    """How one vector is made of the tokens', and whether it is of length one."""
    steps = [str(one.get("type", "")).rpartition(".")[2] for one in _steps(files)]
    require(steps in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]), MODULES)
    pooling = parsed(files, POOLING) if POOLING in files else {}
    chosen = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True]
    if not chosen and isinstance(pooling.get("pooling_mode"), str):
        chosen = [f"pooling_mode_{pooling['pooling_mode']}"]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    known |= {"pooling_mode_mean": "mean", "pooling_mode_cls": "first"}
    require(len(chosen) == 1 and chosen[0] in known, POOLING)
    return known[chosen[0]], steps[-1] == "Normalize"


def _steps(files: Mapping[str, bytes]) -> list[Tree]:
    steps = parsed({MODULES: b'{"all":' + files[MODULES] + b"}"}, MODULES).get("all")
    require(isinstance(steps, list) and all(isinstance(one, dict) for one in steps), MODULES)
    return cast("list[Tree]", steps)


def _labels(config: Tree, family: Family) -> tuple[str, ...]:
    """What a classifier's numbers mean; two without a name where the configuration says nothing, as transformers."""
    require(config.get("architectures") == [family.classifier], CONFIG)
    names = config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
    right = isinstance(names, dict) and 0 < len(names) < 100_000 and set(names) == set(map(str, range(len(names))))
    if not right or not all(isinstance(one, str) for one in cast("Tree", names).values()):
        raise InvalidInput("the labels are not numbered from zero", "save the model again", where=CONFIG)
    labels = tuple(cast("dict[str, str]", names)[str(at)] for at in range(len(cast("Tree", names))))
    if len(set(labels)) != len(labels):
        raise InvalidInput("two labels have one name", "give each its own in id2label", where=CONFIG)
    return labels


def _pad(config: Tree) -> int:
    pad = config.get("pad_token_id", 1)
    require(type(pad) is int and 0 <= pad < 1 << 20, CONFIG)
    return cast("int", pad)


def _most(files: Mapping[str, bytes], config: Tree, offset: int) -> int:
    """Tokens of a text: as many as have a place, and as the folder allows."""
    most = count(config, "max_position_embeddings") - offset
    if LIMITS in files:
        limits = parsed(files, LIMITS)
        require(limits.get("do_lower_case") in (None, False), LIMITS)
        most = min(most, count(limits, "max_seq_length") if limits.get("max_seq_length") is not None else most)
    said = parsed(files, SETTINGS).get("model_max_length") if SETTINGS in files else None
    if type(said) is int and said > 0:
        most = min(most, said)
    require(most > 0, CONFIG)
    return most


def _weights(tensors: Tensors, network: Network, config: Tree) -> dict[str, Floats32]:
    """The tensors that are computed with, by BERT's names, each of its shape."""
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, array in tensors.items():
        found[_renamed(name, network.family)] = array
    weights: dict[str, Floats32] = {}
    for name, shape in _needed(network, config):
        given = found.get(name)
        if given is None or given.shape != shape or given.dtype not in (np.float32, np.float64):
            raise InvalidInput(
                "the weights are not those of the configuration", "save the model again", where=name[:100]
            )
        weights[name] = cast("Floats32", given.astype(np.float32, copy=False))
    return weights


def _renamed(name: str, family: Family) -> str:
    """A weight's name as BERT has it."""
    name = name.removeprefix(family.prefix)
    for pattern, other in family.names:
        name = re.sub(pattern, other, name)
    # Checkpoints that were made of TensorFlow's call them so.
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _needed(network: Network, config: Tree) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all weights that are computed with."""
    size, inner = network.size, network.inner
    yield "embeddings.word_embeddings.weight", (count(config, "vocab_size"), size)
    yield "embeddings.position_embeddings.weight", (count(config, "max_position_embeddings"), size)
    if network.family.types:
        yield "embeddings.token_type_embeddings.weight", (count(config, "type_vocab_size"), size)
    if network.family.near:
        yield "encoder.relative_attention_bias.weight", (BUCKETS, network.heads)
    yield from _layer_norm("embeddings.LayerNorm", size)
    for at in range(network.layers):
        name = f"encoder.layer.{at}"
        for one in ("query", "key", "value"):
            yield from _dense(f"{name}.attention.self.{one}", size, size)
        yield from _dense(f"{name}.attention.output.dense", size, size)
        yield from _layer_norm(f"{name}.attention.output.LayerNorm", size)
        yield from _dense(f"{name}.intermediate.dense", inner, size)
        yield from _dense(f"{name}.output.dense", size, inner)
        yield from _layer_norm(f"{name}.output.LayerNorm", size)
    if network.labels:
        yield from _dense("head.dense", size, size)
        yield from _dense("head.out", len(network.labels), size)


def _dense(name: str, rows: int, columns: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (rows, columns)
    yield f"{name}.bias", (rows,)


def _layer_norm(name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (size,)
    yield f"{name}.bias", (size,)


def _buckets(distances: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bucket of each distance (the other's place less one's own), as MPNet has them."""
    half = BUCKETS // 2
    ahead = (distances > 0).astype(np.int64) * half
    far = np.abs(distances)
    near = half // 2
    with np.errstate(divide="ignore"):
        steps = np.log(far.astype(np.float32) / near) / np.float32(math.log(FARTHEST / near)) * np.float32(half - near)
    large = np.minimum(near + np.where(far < near, 0, steps).astype(np.int64), half - 1)
    return ahead + np.where(far < near, far, large)
