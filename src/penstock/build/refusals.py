"""What the original itself refuses: rows that it raises on are found by halving and left out, not guessed at.

What comes in: a way to ask the model, and rows. What goes out: the rows that it answers, their answers, and why
it refused the others, in words that hold none of the rows' values.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.build.schema import row_count, stack, take
from penstock.errors import PenstockError
from penstock.runtime.memory import NO_MEMORY
from penstock.tensors import Arrays

Ask = Callable[[Arrays], Arrays]
Places = npt.NDArray[np.int64]

MAX_ASKS = 1000
"""Halving ends here: what has not been answered by then counts as refused."""

# What a message quotes may be somebody's data.
_QUOTED = re.compile(r"\[[^\]]*\]|'[^']*'|\"[^\"]*\"|\{[^}]*\}")
_PATH = re.compile(r"(?<![\w.])(/[\w.@+-]+){2,}/?")
_LONGEST = 200
_PLACE = re.compile(r"[\w./-]{1,100}\.py, line \d{1,7}")
"""Where in the model's own files it was, as `penstock.runtime.ownclass` notes it."""


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that a model answers.

    Attributes:
        kept: Their numbers, ascending.
        answers: One entry a kept row; empty where there is none.
        why: What it raised first on another row; empty where it answered all.
    """

    kept: Places
    answers: Arrays
    why: str = ""


def answer_those(ask: Ask, rows: Arrays) -> Answered:
    """Ask for all rows at once, and for halves where that fails, down to single rows.

    Raises:
        PenstockError: The model's own answer is of no kind that a package can give.
        MemoryError: There is too little of it, which says nothing of the rows.
    """
    left = [np.arange(row_count(rows), dtype=np.int64)]
    kept: list[Places] = []
    answers: list[Arrays] = []
    why, asked = "", 0
    while left:
        part = left.pop()
        asked += 1
        try:
            answers.append(ask(take(rows, part)))
            kept.append(part)
        except (PenstockError, MemoryError):
            raise
        except Exception as error:
            why = why or in_words(error)
            middle = len(part) // 2
            # The first half is asked first, so that the kept rows stay in order.
            left += [part[middle:], part[:middle]] if middle and asked < MAX_ASKS else []
    if not kept:
        return Answered(kept=np.arange(0, dtype=np.int64), answers={}, why=why)
    return Answered(kept=np.concatenate(kept), answers=stack(answers), why=why)


def in_words(error: BaseException) -> str:
    """An exception's kind and its first sentence, without what it quotes, and its line in the model's own files."""
    if NO_MEMORY.search(str(error)):
        return f"{type(error).__name__}: it asks for more memory than it may have"
    text = told_without_values(str(error))
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = next((one for one in getattr(error, "__notes__", ()) if _PLACE.fullmatch(str(one))), "")
    return f"{said} ({place})" if place else said


def told_without_values(text: str) -> str:
    """The first line of a message, without what it quotes, without paths, and without what no screen shows."""
    lines = text.strip().splitlines() or [""]
    shown = "".join(one for one in lines[0] if one.isprintable())
    return _QUOTED.sub("...", _PATH.sub("...", " ".join(shown.split())))[:_LONGEST]
