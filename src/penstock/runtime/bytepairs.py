"""GPT-2's and RoBERTa's way to split a text: words with their spaces, as bytes, and pairs of them merged by rank.

    text -> words, each with the space before it -> bytes as letters -> merges, the best first -> ids

What comes in: the model of a ``tokenizer.json``. What goes out: ids, word by word.
Source: Radford et al., 2019, ``encoder.py``; huggingface/tokenizers, pre_tokenizers/byte_level.rs and models/bpe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from penstock.errors import InvalidInput
from penstock.runtime.characters import LETTERS, NUMBERS, SPACES, CharacterMap

MAX_WORD_BYTES = 1 << 17
"""A longer word is cut there: no model's length holds more of it, but for vocabularies made to."""
REMEMBERED = 10_000
_ENDINGS = "strevmld"
_PLAIN = {"dropout": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "byte_fallback": False}
_SPLIT = re.compile(rf"'(?:s|t|re|ve|m|ll|d)| ?[L{_ENDINGS}]+| ?N+| ?[P']+|[ \n]+(?![^ \n])|[ \n]+")
Tree = dict[str, object]


def _kind(one: str) -> str:
    """One letter for each kind of character, so that places stay what they are."""
    if one in " '" or one in _ENDINGS:
        return one
    return "\n" if one in SPACES else "L" if one in LETTERS else "N" if one in NUMBERS else "P"


def _letters() -> dict[int, int]:
    """Bytes as the letters that stand for them."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: byte for byte in plain} | {byte: 256 + at for at, byte in enumerate(others)}


_KINDS = CharacterMap(_kind)
_LETTERS = _letters()


class BytePairs:
    """Parts of words, and which two become one.

    Args:
        splitter: ``ByteLevel``'s settings.
        model: ``BPE``'s.
        vocabulary: Its parts, checked.

    Raises:
        InvalidInput: It merges what it has no number for, or otherwise than is computed here.
    """

    def __init__(self, splitter: Tree, model: Tree, vocabulary: dict[str, int]) -> None:
        unknown = model.get("unk_token")
        plain = all((model.get(name) or usual) == usual for name, usual in _PLAIN.items())
        if not plain or model.get("ignore_merges") or splitter.get("use_regex", True) is not True:
            raise InvalidInput(
                "the tokenizer merges in a way that is not computed", "give it as WordPiece", where="model"
            )
        self._vocabulary = vocabulary
        self._unknown = vocabulary.get(unknown) if isinstance(unknown, str) else None
        self._fuse = model.get("fuse_unk") is True
        self._space = splitter.get("add_prefix_space") is True
        self._ranks = _ranked(model.get("merges"), vocabulary)
        self._known: dict[str, list[int]] = {}

    def normalized(self, text: str) -> str:
        """The text as it is."""
        return text

    def strides(self, text: str) -> Iterator[str]:
        """All of it: what a word is hangs on what follows it."""
        yield text

    def parts(self, text: str) -> Iterator[list[int]]:
        """The ids of each word of a text."""
        if self._space and not text.startswith(" "):
            text = f" {text}"
        for found in _SPLIT.finditer(text.translate(_KINDS)):
            word = text[found.start() : found.end()].encode(errors="replace")[:MAX_WORD_BYTES]
            letters = word.decode("latin-1").translate(_LETTERS)
            ids = self._known.get(letters)
            if ids is None:
                ids = self._numbered(self._merged(letters))
                if len(self._known) < REMEMBERED and len(letters) < 64:
                    self._known[letters] = ids
            yield ids

    def _numbered(self, parts: list[str]) -> list[int]:
        """Ids of parts; what is not known has the unknown id, or none where there is none."""
        found: list[int] = []
        fresh = True
        for part in parts:
            known = self._vocabulary.get(part)
            if known is not None:
                found.append(known)
            elif self._unknown is not None and (fresh or not self._fuse):
                found.append(self._unknown)
            fresh = known is not None
        return found

    def _merged(self, letters: str) -> list[str]:
        """The word's parts once no two of them make one: the best rank first, of equal ones the leftmost."""
        parts = [one for one in letters if self._unknown is not None or one in self._vocabulary]
        after = [*range(1, len(parts)), -1]
        before = list(range(-1, len(parts) - 1))
        pairs = ((self._ranks.get((parts[at], parts[at + 1])), at) for at in range(len(parts) - 1))
        waiting = [(rank, at) for rank, at in pairs if rank is not None]
        heapify(waiting)
        while waiting:
            rank, at = heappop(waiting)
            other = after[at]
            if not parts[at] or other < 0 or self._ranks.get((parts[at], parts[other])) != rank:
                continue
            parts[at] += parts[other]
            parts[other] = ""
            after[at] = after[other]
            if after[other] >= 0:
                before[after[other]] = at
            for left, right in ((before[at], at), (at, after[at])):
                rank_of = self._ranks.get((parts[left], parts[right])) if left >= 0 <= right else None
                if rank_of is not None:
                    heappush(waiting, (rank_of, left))
        return [part for part in parts if part]


def _ranked(merges: object, vocabulary: dict[str, int]) -> dict[tuple[str, str], int]:
    """Pairs with their ranks; ``"a b"`` in older files.

    Raises:
        InvalidInput: One is no pair, or what it makes has no number.
    """
    found: dict[tuple[str, str], int] = {}
    for rank, merge in enumerate(merges if isinstance(merges, list) else [None]):
        pair = tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) if isinstance(merge, list) else ()
        if (
            len(pair) != 2
            or not all(isinstance(one, str) and one for one in pair)
            or not {*pair, "".join(pair)} <= vocabulary.keys()
        ):
            raise InvalidInput("the tokenizer merges what it does not know", "save the model again", where="model")
        found[(pair[0], pair[1])] = rank
    return found
