"""Small text networks of random weights, as transformers saves them, their tokenizers trained here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertTokenizer,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    RobertaTokenizer,
)

CORPUS = [
    "the river and the water of the gate, the rivers and their waterways",
    "a naive cafe by the waterway! don't stop; we'll see what they've said",
    "水 東京 タワー emoji 🌊 numbers 12 345 6789 and signs: 50% (of) £5",
    "Größe über naïve façade résumé coöperate Ångström",
] * 10
LABELS = {0: "calm", 1: "wild", 2: "flood"}
PLACES = 48


def word_pieces() -> dict[str, int]:
    """A vocabulary of WordPiece's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>"]
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=260, special_tokens=special))
    return made.get_vocab()


def byte_pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of byte-level BPE's, and its merges."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=letters)
    )
    model = json.loads(made.to_str())["model"]
    return model["vocab"], [tuple(one) for one in model["merges"]]


def stirred(model: PreTrainedModel) -> PreTrainedModel:
    """Weights that are not nearly nothing, as fresh ones are."""
    torch.manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.2 * torch.randn_like(one))
    return model.eval()


def sizes(words: int, **more: object) -> dict[str, object]:
    """Of one that answers at once."""
    return {
        "vocab_size": words, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": PLACES, **more,
    }  # fmt: skip


def named() -> dict[str, object]:
    """A classifier's labels."""
    return {"id2label": LABELS, "label2id": {name: at for at, name in LABELS.items()}}


def write_bert(folder: Path, **more: object) -> None:
    words = word_pieces()
    stirred(BertForSequenceClassification(BertConfig(**sizes(len(words), **more)))).save_pretrained(folder)
    BertTokenizer(vocab=words).save_pretrained(folder)


def write_bert_of_old(folder: Path) -> None:
    """A cased one in shards, with a list of words beside it."""
    words = word_pieces()
    model = stirred(BertForSequenceClassification(BertConfig(**sizes(len(words), **named()))))
    model.save_pretrained(folder, max_shard_size="40KB")
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in sorted(words, key=words.__getitem__)))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": False, "tokenizer_class": "BertTokenizer", "model_max_length": 20})
    )


def write_distilbert(folder: Path) -> None:
    words = word_pieces()
    config = DistilBertConfig(
        vocab_size=len(words), dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=PLACES
    )
    stirred(DistilBertForSequenceClassification(config)).save_pretrained(folder)
    DistilBertTokenizer(vocab=words).save_pretrained(folder)


def write_roberta(folder: Path, **more: object) -> None:
    parts, merges = byte_pairs()
    config = RobertaConfig(**sizes(len(parts), pad_token_id=1, type_vocab_size=1, **(more or named())))
    stirred(RobertaForSequenceClassification(config)).save_pretrained(folder)
    RobertaTokenizer(vocab=parts, merges=merges).save_pretrained(folder)


def write_roberta_of_old(folder: Path) -> None:
    """With its parts and merges in two files."""
    write_roberta(folder)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = "".join(" ".join(one) + "\n" for one in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    (folder / "tokenizer.json").unlink()


def write_encoder(folder: Path, kind: str) -> None:
    """As sentence-transformers lays it out."""
    words = word_pieces()
    if kind == "mpnet":
        config = MPNetConfig(**sizes(len(words)))
        model: PreTrainedModel = MPNetModel(config)
        MPNetTokenizer(vocab=words).save_pretrained(folder)
    elif kind == "roberta":
        parts, merges = byte_pairs()
        model = RobertaModel(RobertaConfig(**sizes(len(parts), pad_token_id=1, type_vocab_size=1)))
        RobertaTokenizer(vocab=parts, merges=merges).save_pretrained(folder)
    else:
        model = BertModel(BertConfig(**sizes(len(words), hidden_act="relu")))
        BertTokenizer(vocab=words).save_pretrained(folder)
    stirred(model).save_pretrained(folder)
    mean = kind != "roberta"
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": not mean})
    )
    steps = ["Transformer", "Pooling", *(["Normalize"] if mean else [])]
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.models.{one}"} for one in steps]))


CLASSIFIERS: dict[str, Callable[[Path], None]] = {
    "bert": lambda folder: write_bert(folder, **named()),
    "bert of several labels": lambda folder: write_bert(folder, **named(), problem_type="multi_label_classification"),
    "bert of old": write_bert_of_old,
    "distilbert": write_distilbert,
    "roberta": write_roberta,
    "roberta of old": write_roberta_of_old,
    "roberta of a number": lambda folder: write_roberta(folder, num_labels=1, problem_type="regression"),
}
ENCODERS: dict[str, Callable[[Path], None]] = {
    f"{kind} encoder": lambda folder, kind=kind: write_encoder(folder, kind) for kind in ("bert", "mpnet", "roberta")
}  # type: ignore[misc]
