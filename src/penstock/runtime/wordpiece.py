"""BERT's way to split a text: words and signs, then the longest known parts of each.

    text -> cleaned, lower case, accents off -> words and signs -> longest known parts -> ids

What comes in: the normalizer and the model of a ``tokenizer.json``. What goes out: ids, word by word.
Source: BERT's ``tokenization.py``; huggingface/tokenizers, normalizers/bert.rs and models/wordpiece.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from penstock.errors import InvalidInput
from penstock.runtime.characters import CONTROLS, MARKS, SIGNS, SPACES, CharacterMap

LONGEST_WORD = 200
STRIDE = 4096
_CJK = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
Tree = dict[str, object]


def _cleaned(one: str) -> str | None:
    if one in CONTROLS or "\ud800" <= one <= "\udfff":
        return None
    return " " if one in SPACES else one


_CLEANED = CharacterMap(_cleaned)
_APART = CharacterMap(lambda one: f" {one} " if any(low <= ord(one) <= high for low, high in _CJK) else one)
_BARE = CharacterMap(lambda one: None if one in MARKS else one)
# Letter by letter, as the original: the whole text's lower case knows final sigmas.
_LOWER = CharacterMap(str.lower)
_PARTED = CharacterMap(lambda one: " " if one in SPACES else f" {one} " if one in SIGNS else one)


class WordPiece:
    """Words of a vocabulary, and how texts are made like it.

    Args:
        normalizer: ``BertNormalizer``'s settings.
        model: ``WordPiece``'s.
        vocabulary: Its words, checked.

    Raises:
        InvalidInput: They lack one.
    """

    def __init__(self, normalizer: Tree, model: Tree, vocabulary: dict[str, int]) -> None:
        self._vocabulary = vocabulary
        unknown, prefix = model.get("unk_token"), model.get("continuing_subword_prefix", "##")
        longest = model.get("max_input_chars_per_word", 100)
        if unknown not in vocabulary or not isinstance(prefix, str) or type(longest) is not int:
            raise InvalidInput("the tokenizer's model lacks what it needs", "save the model again", where="model")
        if not 0 < longest <= LONGEST_WORD:
            raise InvalidInput(
                "the tokenizer takes words too long", f"{LONGEST_WORD} letters are the most", where="model"
            )
        self._unknown, self._prefix, self._longest = vocabulary[unknown], prefix, longest
        self._lower = normalizer.get("lowercase") is True
        accents = normalizer.get("strip_accents")
        self._strip = self._lower if accents is None else accents is True
        self._clean = normalizer.get("clean_text") is True
        self._cjk = normalizer.get("handle_chinese_chars") is True

    def normalized(self, text: str) -> str:
        """The text as the vocabulary's words are written."""
        if self._clean:
            text = text.translate(_CLEANED)
        if self._cjk:
            text = text.translate(_APART)
        if self._strip:
            text = unicodedata.normalize("NFD", text).translate(_BARE)
        return text.translate(_LOWER) if self._lower else text

    def strides(self, text: str) -> Iterator[str]:
        """The text in pieces that can be normalized alone: a long one's rest is often cut off."""
        start = 0
        while start < len(text):
            end = text.find(" ", start + STRIDE)
            end = len(text) if end < 0 else end
            yield text[start:end]
            start = end

    def parts(self, text: str) -> Iterator[list[int]]:
        """The ids of each word of a normalized text."""
        for word in text.translate(_PARTED).split(" "):
            if word:
                yield self._parts(word)

    def _parts(self, word: str) -> list[int]:
        """The longest known parts from the left; the unknown id where one is not known."""
        known = self._vocabulary.get(word)
        if known is not None and len(word) <= self._longest:
            return [known]
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
