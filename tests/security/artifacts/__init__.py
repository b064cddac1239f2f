"""Hostile artifacts by family; each file makes those of one kind of model."""

from __future__ import annotations

from collections.abc import Iterator

from tests.security.artifacts import archives, boosters, folders, frameworks, gadgets, joblibs, onnxes, pickles, skopses
from tests.security.artifacts.artifact import Artifact


def all_artifacts() -> Iterator[Artifact]:
    """Every one, in the same order each time."""
    for family in (gadgets, pickles, joblibs, skopses, onnxes, frameworks, folders, boosters, archives):
        yield from family.artifacts()
