"""Hostile artifacts by family; each file makes those of one kind of model."""

from __future__ import annotations

from collections.abc import Iterator

from tests.security.artifacts import (
    answers,
    archives,
    boosters,
    folders,
    frameworks,
    gadgets,
    joblibs,
    made,
    onnxes,
    packages,
    pickles,
    skopses,
)
from tests.security.artifacts.artifact import Artifact


def all_artifacts() -> Iterator[Artifact]:
    """Every one, in the same order each time."""
    for family in (
        gadgets, pickles, joblibs, skopses, onnxes, frameworks, folders, boosters, archives, answers, packages, made,
    ):  # fmt: skip
        yield from family.artifacts()
