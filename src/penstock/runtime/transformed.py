"""A model with the declared steps before and behind it: what a package's ``transforms.json`` holds, and how it answers.

    raw arrays -> inward: steps, columns joined into the model's own inputs -> the model -> outward: steps -> answers

It is written when the model is packaged. Where all of it became one graph nobody reads it to answer; where the model
stays Python, the process in the sandbox does this around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import numpy as np

from penstock import adapters
from penstock.errors import Corrupt, PenstockError
from penstock.runtime.original import bind, load_original
from penstock.runtime.transform import TRANSFORMS, AfterStep, BeforeStep, ColumnTable
from penstock.tensors import DTYPES, Array, Arrays, TensorSpec

BEFORE, AFTER = "preprocess", "postprocess"
MAX_BYTES = 64 << 20


class Feed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input of the model itself.

    Attributes:
        spec: It.
        columns: What it is made of, in their order.
    """

    spec: TensorSpec
    columns: tuple[str, ...]


class _Stored(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The form on disk: each step a table of one key, as it is declared, with what was learned."""

    version: int
    inputs: tuple[TensorSpec, ...] = ()
    preprocess: tuple[dict[str, object], ...] = ()
    feeds: tuple[Feed, ...] = ()
    postprocess: tuple[dict[str, object], ...] = ()


class Transforms(msgspec.Struct, frozen=True, kw_only=True):
    """All steps, with what they learned.

    Attributes:
        inputs: What the package takes; empty where nothing stands before the model.
        before: Names and steps before it.
        feeds: The model's own inputs; empty where nothing stands before it.
        after: Names and steps behind it.
    """

    inputs: tuple[TensorSpec, ...] = ()
    before: tuple[tuple[str, BeforeStep], ...] = ()
    feeds: tuple[Feed, ...] = ()
    after: tuple[tuple[str, AfterStep], ...] = ()

    def inner(self, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The model's own inputs."""
        return tuple(feed.spec for feed in self.feeds) if self.before else tuple(inputs)

    def inward(self, arrays: Mapping[str, Array]) -> Arrays:
        """What the model is asked."""
        if not self.before:
            return dict(arrays)
        table: ColumnTable = {spec.name: arrays[spec.name].reshape(-1) for spec in self.inputs}
        for _, step in self.before:
            table = step.apply(table)
        return {feed.spec.name: fed(feed, table) for feed in self.feeds}

    def outward(self, answers: Arrays) -> Arrays:
        """What is answered."""
        for _, step in self.after:
            answers = step.apply(answers)
        return answers


class TransformedModel:
    """A loaded original with the steps around it, which is asked as any other."""

    def __init__(self, model: object, transforms: Transforms) -> None:
        self._model = model
        self._transforms = transforms
        self._specs: Sequence[TensorSpec] | None = None

    def answer_specs(self, specs: Sequence[TensorSpec], arrays: Mapping[str, Array]) -> Arrays:
        """What it answers to raw rows; see `penstock.runtime.original.answer`."""
        if specs is not self._specs:
            self._answer = bind(self._model, self._transforms.inner(specs))
            self._specs = specs
        return self._transforms.outward(self._answer(self._transforms.inward(arrays)))


def load_transformed(path: Path, kind: str, transforms: str) -> object:
    """A trained model, with the steps around it where there are any; see `load_original`.

    Args:
        path: The model's file.
        kind: Of its format.
        transforms: Path of ``transforms.json``; empty for none.
    """
    model = load_original(path, kind)
    return TransformedModel(model, decode_transforms(Path(transforms).read_bytes())) if transforms else model


def fed(feed: Feed, table: ColumnTable) -> Array:
    """An input of the model's own: one column, or several beside each other."""
    dtype = DTYPES[feed.spec.datatype]
    columns = [table[name] for name in feed.columns]
    with np.errstate(over="ignore"):
        if len(feed.spec.shape) == 1:
            return columns[0].astype(dtype)
        return np.stack([column.astype(dtype) for column in columns], axis=1)


def encode_transforms(transforms: Transforms) -> bytes:
    """``transforms.json``."""
    stored = _Stored(
        version=1,
        inputs=transforms.inputs,
        preprocess=tuple({name: msgspec.to_builtins(step)} for name, step in transforms.before),
        feeds=transforms.feeds,
        postprocess=tuple({name: msgspec.to_builtins(step)} for name, step in transforms.after),
    )
    return msgspec.json.encode(stored, order="deterministic")


def decode_transforms(data: bytes) -> Transforms:
    """The steps, from what is stored.

    Raises:
        Corrupt: It is no such file.
    """
    try:
        stored = msgspec.json.decode(data, type=_Stored)
        if stored.version != 1:
            raise Corrupt(f"{TRANSFORMS} is of another version", "install a newer penstock", where=TRANSFORMS)
        before = tuple((name, cast("BeforeStep", step)) for name, step in _steps(BEFORE, stored.preprocess))
        after = tuple((name, cast("AfterStep", step)) for name, step in _steps(AFTER, stored.postprocess))
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{TRANSFORMS} is damaged: {error}", "package the model again", where=TRANSFORMS) from error
    except Corrupt:
        raise
    except PenstockError as error:
        raise Corrupt(f"{TRANSFORMS}: {error.message}", "package the model again", where=TRANSFORMS) from error
    return Transforms(inputs=stored.inputs, before=before, feeds=stored.feeds, after=after)


def _steps(kind: str, stored: Sequence[Mapping[str, object]]) -> list[tuple[str, object]]:
    return [
        (name, msgspec.convert(fields, adapters.load(kind, name))) for one in stored for name, fields in one.items()
    ]
