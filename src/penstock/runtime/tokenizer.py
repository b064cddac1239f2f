"""A Hugging Face tokenizer, read as what it is: words, numbers, and the tokens that stand around a text.

    text -> tokens of its own apart -> normalized -> WordPiece | byte pairs -> cut -> between first and last -> ids

What comes in: ``tokenizer.json``, or the files that older folders have in its place. What goes out: ids, and which of
two texts each is of. Only what is computed here exactly is taken; others are refused. Nothing of it is ever run.
Source: huggingface/tokenizers, added_vocabulary.rs, processors/ and utils/truncation.rs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from penstock.errors import InvalidInput
from penstock.runtime.bytepairs import BytePairs
from penstock.runtime.characters import SPACES
from penstock.runtime.wordpiece import WordPiece

MAX_ADDED = 2000
_WHERE = "tokenizer.json"
_SPACE = "".join(sorted(SPACES))
Tree = dict[str, object]
Piece = tuple[int, int]
"""Of a template: a token's id, or -1 and -2 for the two texts; and the type that it has."""


class Added(NamedTuple):
    """A token that a text may hold as it is."""

    number: int
    before: bool
    behind: bool
    alone: bool


class Tokenizer:
    """What makes ids of texts.

    Args:
        tree: ``tokenizer.json``, decoded.
        most: Ids of a text, those around it included; the rest is cut off.

    Attributes:
        highest: The highest id that it gives.
        words: Its vocabulary.
    """

    def __init__(self, tree: Tree, most: int) -> None:
        model, normalizer, splitter = (part(tree, name) for name in ("model", "normalizer", "pre_tokenizer"))
        vocabulary = numbered(model.get("vocab"))
        self.words = tuple(vocabulary)
        kinds = (model.get("type"), normalizer.get("type"), splitter.get("type"))
        self._splitter: WordPiece | BytePairs
        if kinds == ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
            self._splitter = WordPiece(normalizer, model, vocabulary)
        elif kinds == ("BPE", None, "ByteLevel"):
            self._splitter = BytePairs(splitter, model, vocabulary)
        else:
            raise _wrong("the tokenizer is neither BERT's nor RoBERTa's")
        raw, made = _added(tree.get("added_tokens"))
        self._raw = _Apart(raw)
        self._made = _Apart({self._splitter.normalized(text): one for text, one in made.items()})
        self._one, self._two = _templates(part(tree, "post_processor"))
        self._most = most
        numbers = [one.number for one in (*raw.values(), *made.values())]
        around = [number for number, _ in (*self._one, *self._two)]
        self.highest = max((*vocabulary.values(), *numbers, *around))
        if most <= len(self._two):
            raise InvalidInput("the tokenizer leaves no room for a text", "save the model again", where=_WHERE)

    @property
    def takes_two(self) -> bool:
        """Whether it knows how two texts stand together."""
        return bool(self._two)

    def ids(self, text: str) -> list[int]:
        """The ids of a text, between the first and the last."""
        return self.encoded(text)[0]

    def encoded(self, text: str, other: str | None = None) -> tuple[list[int], list[int]]:
        """Ids, and the type of each: of two texts, the longer is cut first."""
        # Which of two texts is the longer is only known of both, whole.
        most = self._most if other is None else sys.maxsize
        first, second = self._some(text, most), [] if other is None else self._some(other, most)
        template = self._one if other is None else self._two
        room = self._most - len(template) + (1 if other is None else 2)
        if other is None:
            first = first[:room]
        else:
            first, second = _shortened(first, second, room)
        ids: list[int] = []
        types: list[int] = []
        for number, kind in template:
            part = [number] if number >= 0 else first if number == -1 else second
            ids += part
            types += [kind] * len(part)
        return ids, types

    def _some(self, text: str, most: int) -> list[int]:
        """Ids of a text alone; all of them, or at least so many."""
        found: list[int] = []
        for piece, token in self._raw.split(text):
            if token is not None:
                found.append(token)
                continue
            for stride in (piece,) if self._made else self._splitter.strides(piece):
                for words, added in self._made.split(self._splitter.normalized(stride)):
                    found += [added] if added is not None else []
                    for ids in self._splitter.parts(words) if added is None else ():
                        found += ids
                        if len(found) >= most:
                            return found
            if len(found) >= most:
                break
        return found


class _Apart:
    """Finds tokens that stand in a text as they are, the longest at the leftmost place.

    Args:
        tokens: By their text.
    """

    def __init__(self, tokens: Mapping[str, Added]) -> None:
        self._tokens = dict(tokens)
        texts = sorted(self._tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, texts))) if texts else None

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def split(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Pieces of the text between them, and their ids."""
        start = 0
        for found in self._pattern.finditer(text) if self._pattern is not None else ():
            token = self._tokens[found[0]]
            first, last = found.span()
            if token.alone and (_in_word(text[first - 1 : first]) or _in_word(text[last : last + 1])):
                continue
            if token.before:
                first = max(start, len(text[:first].rstrip(_SPACE)))
            if token.behind:
                last += len(text[last:]) - len(text[last:].lstrip(_SPACE))
            if first > start:
                yield text[start:first], None
            yield "", token.number
            start = last
        if start < len(text):
            yield text[start:], None


def _added(tokens: object) -> tuple[dict[str, Added], dict[str, Added]]:
    """Tokens of their own: those that are looked for in the text as it is, and in what is made of it."""
    entries = tokens if isinstance(tokens, list) else []
    if len(entries) > MAX_ADDED or not all(isinstance(one, dict) for one in entries):
        raise _wrong(f"the tokenizer has more than {MAX_ADDED} tokens of its own, or other things")
    raw: dict[str, Added] = {}
    made: dict[str, Added] = {}
    for one in cast("list[Tree]", entries):
        content = one.get("content")
        if not isinstance(content, str) or not content:
            raise _wrong("the tokenizer has a token without a text")
        number = numbered({content: one.get("id")})[content]
        flags = (one.get(name) is True for name in ("lstrip", "rstrip", "single_word"))
        (made if one.get("normalized") is True else raw)[content] = Added(number, *flags)
    return raw, made


def _templates(processor: Tree) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """What stands around one text, and around two; nothing for two where it does not say."""
    kind = processor.get("type")
    if kind is None:
        return ((-1, 0),), ()
    if kind in ("BertProcessing", "RobertaProcessing"):
        first, last = (_around(processor, name) for name in ("cls", "sep"))
        one = ((first, 0), (-1, 0), (last, 0))
        if kind == "BertProcessing":
            return one, (*one, (-2, 1), (last, 1))
        return one, (*one, (last, 0), (-2, 0), (last, 0))
    if kind != "TemplateProcessing":
        raise _wrong("the tokenizer puts something around a text that is not known")
    tokens = part(processor, "special_tokens")
    found = tuple(_template(processor.get(name), tokens) for name in ("single", "pair"))
    if [[number for number, _ in one if number < 0] for one in found] != [[-1], [-1, -2]]:
        raise _wrong("the tokenizer's template has other texts than the two")
    return found[0], found[1]


def _template(pieces: object, tokens: Tree) -> tuple[Piece, ...]:
    """One template of several pieces."""
    found: list[Piece] = []
    for piece in pieces if isinstance(pieces, list) and len(pieces) < 100 else []:
        name, said = next(iter(piece.items())) if isinstance(piece, dict) and len(piece) == 1 else ("", {})
        kind = said.get("type_id") if isinstance(said, dict) else None
        if kind not in (0, 1) or type(kind) is not int:
            raise _wrong("the tokenizer's template is none")
        if name == "Sequence" and said.get("id") in ("A", "B"):
            found.append((-1 if said["id"] == "A" else -2, kind))
            continue
        ids = part(tokens, str(said.get("id"))).get("ids")
        if name != "SpecialToken" or not isinstance(ids, list) or not ids:
            raise _wrong("the tokenizer's template is none")
        found += [(numbered({"": one})[""], kind) for one in ids]
    return tuple(found)


def _around(processor: Tree, name: str) -> int:
    """The id of a token that stands around a text."""
    entry = processor.get(name)
    if not isinstance(entry, list) or len(entry) != 2:
        raise _wrong("the tokenizer does not say what stands around a text")
    return numbered({"": entry[1]})[""]


def _shortened(first: list[int], second: list[int], room: int) -> tuple[list[int], list[int]]:
    """Two texts in one room: the longer loses first, as ``longest_first`` does."""
    if len(first) + len(second) <= room:
        return first, second
    short, long = sorted((len(first), len(second)))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    ends = (long, short) if len(first) > len(second) else (short, long)
    return first[: ends[0]], second[: ends[1]]


def _in_word(one: str) -> bool:
    return one.isalnum() or one == "_"


def numbered(words: object) -> dict[str, int]:
    """Words with their ids, which are places in a table."""
    if not isinstance(words, dict) or not all(type(one) is int and 0 <= one < 1 << 31 for one in words.values()):
        raise InvalidInput("the tokenizer's words have no numbers", "save the model again", where=_WHERE)
    return cast("dict[str, int]", words)


def part(tree: Tree, name: str) -> Tree:
    """A part that is an object; empty where there is none."""
    part = tree.get(name)
    if part is not None and not isinstance(part, dict):
        raise _wrong("the tokenizer has a part that is none")
    return cast("Tree", part or {})


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(what, "WordPiece and byte-level BPE are read; export others to ONNX with ids", where=_WHERE)
