"""BERT's tokenizer: a text becomes numbers of words and parts of words.

    text -> special tokens apart -> cleaned, lower case, accents off -> words and signs -> longest known parts -> ids

What comes in: ``tokenizer.json`` of a Hugging Face folder. Other kinds of tokenizers are refused, not imitated.
Source: BERT's ``tokenization.py``; huggingface/tokenizers, normalizers/bert.rs and models/wordpiece.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import cast

from penstock.errors import InvalidInput

_ENDINGS = (None, "TemplateProcessing", "BertProcessing")
_KINDS = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
_ASCII_SIGNS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
Tree = dict[str, object]


class WordPiece:
    """A tokenizer of one text at a time.

    Args:
        tokenizer: ``tokenizer.json``.
        most: Ids of a text, the first and last included; the rest is cut off.

    Attributes:
        highest: The highest id that it gives.
    """

    def __init__(self, tokenizer: bytes, most: int) -> None:
        tree = _parsed(tokenizer)
        for part, kind in _KINDS.items():
            if cast("Tree", tree.get(part) or {}).get("type") != kind:
                raise InvalidInput("the tokenizer is not BERT's", "only WordPiece folders are read", where=part)
        if cast("Tree", tree.get("post_processor") or {}).get("type") not in _ENDINGS:
            raise InvalidInput("the tokenizer is not BERT's", "only WordPiece folders are read", where="post_processor")
        normalizer, model = cast("Tree", tree["normalizer"]), cast("Tree", tree["model"])
        self._vocabulary = _numbered(model["vocab"])
        self._unknown = self._vocabulary[str(model["unk_token"])]
        self._prefix = str(model["continuing_subword_prefix"])
        self._longest = int(cast("int", model["max_input_chars_per_word"]))
        self._lower = normalizer["lowercase"] is True
        accents = normalizer["strip_accents"]
        self._strip = self._lower if accents is None else accents is True
        self._clean = normalizer["clean_text"] is True
        self._cjk = normalizer["handle_chinese_chars"] is True
        added = cast("list[Tree]", tree.get("added_tokens") or [])
        self._special = _numbered({str(one["content"]): one["id"] for one in added})
        self._apart = re.compile("(" + "|".join(map(re.escape, sorted(self._special, key=len, reverse=True))) + ")")
        self._first, self._last = self._special["[CLS]"], self._special["[SEP]"]
        self._most = most
        self.highest = max((*self._vocabulary.values(), *self._special.values()))

    def ids(self, text: str) -> list[int]:
        """The ids of a text, between the first and the last."""
        found: list[int] = []
        for piece in self._apart.split(text) if self._special else [text]:
            if piece in self._special:
                found.append(self._special[piece])
                continue
            for word in _words(self._normalized(piece)):
                found += self._parts(word)
            if len(found) >= self._most:
                break
        return [self._first, *found[: self._most - 2], self._last]

    def _normalized(self, text: str) -> str:
        if self._clean:
            text = "".join(" " if _is_space(one) else one for one in text if not _is_control(one))
        if self._cjk:
            text = "".join(f" {one} " if _is_cjk(one) else one for one in text)
        if self._strip:
            text = "".join(one for one in unicodedata.normalize("NFD", text) if unicodedata.category(one) != "Mn")
        # Letter by letter, as the original: the whole text's lower case knows final sigmas.
        return "".join(one.lower() for one in text) if self._lower else text

    def _parts(self, word: str) -> list[int]:
        """The longest known parts from the left; the unknown id where one is not known."""
        if len(word) > self._longest:
            return [self._unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                known = self._vocabulary.get((self._prefix if start else "") + word[start:end])
                if known is not None:
                    break
            else:
                return [self._unknown]
            found.append(known)
            start = end
        return found


def _parsed(tokenizer: bytes) -> Tree:
    try:
        tree = json.loads(tokenizer)
    except (ValueError, RecursionError):
        raise InvalidInput("the tokenizer is no JSON", "save the model again", where="tokenizer.json") from None
    if not isinstance(tree, dict):
        raise InvalidInput("the tokenizer is no object", "save the model again", where="tokenizer.json")
    return tree


def _numbered(words: object) -> dict[str, int]:
    """Words with their ids, which are places in a table."""
    if not isinstance(words, dict) or not all(type(one) is int and 0 <= one < 1 << 31 for one in words.values()):
        raise InvalidInput("the tokenizer's words have no numbers", "save the model again", where="tokenizer.json")
    return cast("dict[str, int]", words)


def _words(text: str) -> list[str]:
    """Words, and every sign alone."""
    found: list[str] = []
    word = ""
    for one in text:
        space, sign = one.isspace(), _is_sign(one)
        if not space and not sign:
            word += one
            continue
        if word:
            found.append(word)
            word = ""
        if sign:
            found.append(one)
    return [*found, word] if word else found


def _is_sign(one: str) -> bool:
    return one in _ASCII_SIGNS or unicodedata.category(one).startswith("P")


def _is_space(one: str) -> bool:
    return one in "\t\n\r" or one.isspace()


def _is_control(one: str) -> bool:
    if one in "\t\n\r":
        return False
    return one in "\0\ufffd" or unicodedata.category(one) in ("Cc", "Cf", "Cn", "Co", "Cs")


def _is_cjk(one: str) -> bool:
    return any(low <= ord(one) <= high for low, high in _CJK)
