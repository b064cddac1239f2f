"""Pickle and joblib files as `joblib.load` reads them, but a tree's arrays are not kept beside the tree made of them.

    path -> joblib.load, its reader told to forget -> model

A reader of pickles keeps each object that it made until the file ends, since a later part may mean the same one again.
scikit-learn's trees copy the arrays of their state, so that every tree would lie in memory twice until then. No file
that a pickler wrote means such a state again: the tree makes it anew whenever it is asked for it. A file that does all
the same is read once more, with nothing forgotten; so whatever is loaded is what joblib would have loaded.

Only a sandboxed process may call this; joblib is imported by name, in whichever version the model's environment has.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from penstock.runtime.heap import give_back

COPIES_ITS_STATE = ("sklearn.tree._tree", "Tree")
"""Module and name of the class whose ``__setstate__`` copies each array (``memcpy`` into memory of its own)."""

_LOOKED_BACK = 100
"""Objects from a tree's state to its end are some thirty; a state further back was not kept at all."""
_BYTES = (bytes, bytearray)
_FORGOTTEN = object()

Step = Callable[[Any], None]


class _AskedAgain(Exception):
    """The file means an object again that was forgotten."""


class _Memory(dict[int, object]):
    """What a reader keeps, by number; numbers go by the count, so what is forgotten keeps its place."""

    def __init__(self, kept: dict[int, object], told: Callable[[], None]) -> None:
        super().__init__(kept)
        self._told = told

    def __getitem__(self, number: int) -> object:
        kept = super().__getitem__(number)
        if kept is _FORGOTTEN:
            self._told()
            raise _AskedAgain
        return kept

    def forget(self, state: object) -> None:
        """Let go of a state that was just used, and of the arrays in it with the bytes that they were made of."""
        recent = list(islice(reversed(self), _LOOKED_BACK))
        begun = next((at for at, number in enumerate(recent) if super(_Memory, self).__getitem__(number) is state), -1)
        for number in recent[: begun + 1]:
            kept = super().__getitem__(number)
            if kept is state or _is_numbers(kept) or (type(kept) is tuple and any(map(_is_numbers, kept))):
                self[number] = _FORGOTTEN


def load_pickle(path: Path) -> object:
    """Load what `joblib.dump` or `pickle.dump` wrote; this runs what the file says.

    Raises:
        Exception: Whatever `joblib.load` raises.
    """
    joblib = import_module("joblib")
    asked_again: list[None] = []
    try:
        with _forgetful(lambda: asked_again.append(None)):
            model: object = joblib.load(path)
    except Exception:
        if not asked_again:
            raise
    # A class of the file's own may have caught what was raised: what came of that is not what the file says.
    if asked_again:
        model = joblib.load(path)
    give_back()
    return model


@contextmanager
def _forgetful(told: Callable[[], None]) -> Iterator[None]:
    """Have readers in Python forget trees' states: joblib's, and the one that it takes for arrays of objects."""
    tables: list[dict[int, Step]] = []
    for module, name in (("joblib.numpy_pickle", "NumpyUnpickler"), ("pickle", "_Unpickler")):
        table = getattr(getattr(import_module(module), name, None), "dispatch", None)
        if table is not None:  # another version may read otherwise, and keeps everything then
            tables.append(table)
    steps = [table[pickle.BUILD[0]] for table in tables]
    try:
        for table, step in zip(tables, steps, strict=True):
            table[pickle.BUILD[0]] = _forgetting(step, told)
        yield
    finally:
        for table, step in zip(tables, steps, strict=True):
            table[pickle.BUILD[0]] = step


def _forgetting(build: Step, told: Callable[[], None]) -> Step:
    """The step that gives an object its state, and forgets the state of a tree."""

    def step(reader: Any) -> None:
        state, made = reader.stack[-1], type(reader.stack[-2])
        build(reader)
        if (made.__module__, made.__name__) == COPIES_ITS_STATE and type(state) is dict:
            if type(reader.memo) is not _Memory:
                reader.memo = _Memory(reader.memo, told)
            reader.memo.forget(state)

    return step


def _is_numbers(value: object) -> bool:
    """An array, or the bytes of one."""
    return type(value) is np.ndarray or type(value) in _BYTES
