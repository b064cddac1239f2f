"""A folder's tokenizer as one tree: ``tokenizer.json``, or the same made of the files that older folders have.

What comes in: contents by name. What goes out: what `penstock.runtime.tokenizer.Tokenizer` takes.
Source: transformers, models/bert/tokenization_bert.py and models/roberta/tokenization_roberta.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from penstock.errors import InvalidInput
from penstock.runtime.tokenizer import Tree, numbered, part

TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
WORDS = "vocab.txt"
PARTS = "vocab.json"
MERGES = "merges.txt"
KEPT = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")


def tokenizer_tree(files: Mapping[str, bytes]) -> Tree:
    """``tokenizer.json``, or the same made of a vocabulary's files.

    Args:
        files: Contents by name.

    Raises:
        InvalidInput: There is none of them, or they are not what they should be.
    """
    settings = parsed(files, SETTINGS) if SETTINGS in files else {}
    if TOKENIZER in files:
        tree = parsed(files, TOKENIZER)
        normalizer, said = part(tree, "normalizer"), settings.get("do_lower_case")
        if normalizer.get("type") == "BertNormalizer" and said is not None and said is not normalizer.get("lowercase"):
            raise InvalidInput("the tokenizer's two files differ in its letters' case", "save it again", where=SETTINGS)
        return {name: tree[name] for name in KEPT if tree.get(name) is not None}
    if WORDS in files:
        return _of_words(files[WORDS], settings)
    if PARTS in files and MERGES in files:
        return _of_merges(parsed(files, PARTS), files[MERGES], settings)
    raise InvalidInput(
        "the folder has no tokenizer that is read here",
        f"save it beside the model: {TOKENIZER}, {WORDS}, or {PARTS} and {MERGES}",
        where=TOKENIZER,
    )


def parsed(files: Mapping[str, bytes], name: str) -> Tree:
    """A file that is one JSON object.

    Raises:
        InvalidInput: It is none.
    """
    try:
        tree = json.loads(files[name])
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        raise InvalidInput("this is no JSON object", "save the model again", where=name)
    return tree


def _of_words(content: bytes, settings: Tree) -> Tree:
    """What BERT's own tokenizer makes of its list of words."""
    words = _text(content, WORDS).split("\n")
    vocabulary = {word.rstrip("\r"): at for at, word in enumerate(words[:-1] if words[-1] == "" else words)}
    usual = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    special = _special(settings, usual, vocabulary)
    first, last = vocabulary[special["cls"]], vocabulary[special["sep"]]
    return {
        "added_tokens": [{"id": vocabulary[one], "content": one, "normalized": False} for one in special.values()],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": settings.get("tokenize_chinese_chars", True),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": settings.get("do_lower_case", True),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "cls": [special["cls"], first], "sep": [special["sep"], last]},
        "model": {"type": "WordPiece", "unk_token": special["unk"], "vocab": vocabulary},
    }


def _of_merges(vocabulary: Tree, merges: bytes, settings: Tree) -> Tree:
    """What RoBERTa's own tokenizer makes of its parts and merges."""
    numbers = numbered(vocabulary)
    usual = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>", "cls": "<s>", "sep": "</s>"}
    special = _special(settings, usual, numbers)
    lines = [line for line in _text(merges, MERGES).split("\n") if line and not line.startswith("#version")]
    mask = settings.get("mask_token")
    before = isinstance(mask, dict) and mask.get("lstrip") is True
    added = [
        {"id": numbers[one], "content": one, "normalized": False, "lstrip": before and one == special["mask"]}
        for one in dict.fromkeys(special.values())
    ]
    around = {name: [special[name], numbers[special[name]]] for name in ("cls", "sep")}
    return {
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": settings.get("add_prefix_space", False)},
        "post_processor": {"type": "RobertaProcessing", **around},
        "model": {"type": "BPE", "vocab": numbers, "merges": lines},
    }


def _special(settings: Tree, usual: dict[str, str], vocabulary: Mapping[str, int]) -> dict[str, str]:
    """The tokens of a vocabulary that stand for no text."""
    found: dict[str, str] = {}
    for name, text in usual.items():
        given = settings.get(f"{name}_token") or text
        content = given.get("content") if isinstance(given, dict) else given
        if not isinstance(content, str) or content not in vocabulary:
            raise InvalidInput("the vocabulary lacks a token that it needs", "save the tokenizer again", where=SETTINGS)
        found[name] = content
    return found


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidInput("this is no UTF-8", "save the tokenizer again", where=name) from None
