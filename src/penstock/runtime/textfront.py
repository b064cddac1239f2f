"""A tokenizer in front of a graph: texts come in, the graph is asked for ids, and answers as if it took texts.

    texts -> ids -> rows of like lengths together, filled up with a mask -> graph -> answers in the texts' order

What comes in: a description in the graph's own metadata, which is data: a vocabulary, and how long a text may be. What
goes out: `TextFront`, which stands before a session's run. Nothing of it is code: the tokenizers are this package's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.errors import InvalidInput
from penstock.runtime.graphfile import TEXTS
from penstock.runtime.tokenizer import Tokenizer, Tree
from penstock.tensors import Array, Arrays

IDS, MASK, TYPES = "ids", "mask", "types"
FORMAT = 1
MAX_TOKENS = 4096
"""Of one run, filled up ones included: what an attention takes grows with them."""
Run = Callable[[list[str], Mapping[str, Array], None], Sequence[Array]]
Ints = npt.NDArray[np.int64]


class Described(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the metadata hold.

    Attributes:
        format: Of this description.
        inputs: Columns of texts: one, or two that stand together.
        most: Ids of a row; the rest is cut off.
        types: Whether the graph is told of which text a token is.
        pad: Id that fills up; the mask hides it.
        tokenizer: As `penstock.runtime.tokenizer.Tokenizer` takes it.
    """

    format: int
    inputs: tuple[str, ...]
    most: int
    types: bool
    pad: int
    tokenizer: Tree


class TextGroup(NamedTuple):
    """Rows that are asked together: their places, and what the graph gets."""

    places: list[int]
    feeds: Arrays


class TextFront:
    """Stands before a graph.

    Args:
        described: What it is.
    """

    def __init__(self, described: Described) -> None:
        if described.format != FORMAT or not 0 < len(described.inputs) < 3:
            raise InvalidInput("the graph's tokenizer is of another format", "use the Penstock that packaged it")
        self.inputs = described.inputs
        self._types = described.types
        self._pad = described.pad
        self._tokenizer = Tokenizer(described.tokenizer, described.most)

    @property
    def feeds(self) -> set[str]:
        """What the graph takes."""
        return {IDS, MASK, TYPES} if self._types else {IDS, MASK}

    def before(self, run: Run) -> Run:
        """A run that takes texts.

        Args:
            run: The graph's.
        """

        def answered(names: list[str], rows: Mapping[str, Array], options: None = None) -> Sequence[Array]:
            encoded = self._encoded(rows)
            groups = list(self._groups(encoded, MAX_TOKENS))
            if len(groups) == 1:
                return _ordered(run(names, groups[0].feeds, options), groups[0].places)
            parts = [run(names, group.feeds, options) for group in groups]
            places = [place for group in groups for place in group.places]
            return _ordered([np.concatenate(one) for one in zip(*parts, strict=True)], places)

        return answered

    def fed(self, rows: Mapping[str, Array]) -> Arrays:
        """What the graph gets for all rows at once: what a quantizer calibrates on."""
        encoded = self._encoded(rows)
        return self._filled(encoded, list(range(len(encoded))))

    def _encoded(self, rows: Mapping[str, Array]) -> list[tuple[list[int], list[int]]]:
        columns = [[str(text) for text in rows[name].reshape(-1)] for name in self.inputs]
        return [self._tokenizer.encoded(*texts) for texts in zip(*columns, strict=True)]

    def _groups(self, encoded: Sequence[tuple[list[int], list[int]]], most: int) -> Iterator[TextGroup]:
        """Rows of like lengths, the shortest first: little of what is computed is filled up."""
        order = sorted(range(len(encoded)), key=lambda at: len(encoded[at][0]))
        start = 0
        while start < len(order):
            end, shortest = start + 1, len(encoded[order[start]][0])
            while end < len(order):
                length = len(encoded[order[end]][0])
                if 4 * length > 5 * shortest + 16 or length * (end + 1 - start) > most:
                    break
                end += 1
            yield TextGroup(order[start:end], self._filled(encoded, order[start:end]))
            start = end

    def _filled(self, encoded: Sequence[tuple[list[int], list[int]]], places: list[int]) -> Arrays:
        length = max((len(encoded[place][0]) for place in places), default=0)
        ids: Ints = np.full((len(places), length), self._pad, np.int64)
        mask: Ints = np.zeros((len(places), length), np.int64)
        types: Ints = np.zeros((len(places), length), np.int64)
        for row, place in enumerate(places):
            some, kinds = encoded[place]
            ids[row, : len(some)] = some
            types[row, : len(some)] = kinds
            mask[row, : len(some)] = 1
        return {IDS: ids, MASK: mask, TYPES: types} if self._types else {IDS: ids, MASK: mask}


def open_front(metadata: Mapping[str, str]) -> TextFront | None:
    """What a graph's metadata say stands before it; None for a graph that takes its inputs as they are.

    Raises:
        InvalidInput: It is described wrongly.
    """
    text = metadata.get(TEXTS)
    return None if text is None else _opened(text)


@lru_cache(maxsize=2)
def _opened(text: str) -> TextFront:
    try:
        return TextFront(msgspec.json.decode(text, type=Described))
    except (msgspec.DecodeError, RecursionError):
        raise InvalidInput("the graph's tokenizer is described wrongly", "package the model again") from None


def describe(described: Described) -> str:
    """What goes into the graph's metadata."""
    return msgspec.json.encode(described).decode()


def _ordered(answers: Sequence[Array], places: list[int]) -> Sequence[Array]:
    """Answers in the order in which the rows came."""
    if places == list(range(len(places))):
        return answers
    back = np.argsort(np.array(places))
    return [one[back] for one in answers]
