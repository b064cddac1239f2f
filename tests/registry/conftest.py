"""A fresh registry, and the people in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chain_for_tests import people
from penstock.access.identities import Identity
from penstock.registry.registry import Registry


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "home", clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def who(registry: Registry) -> dict[str, Identity]:
    return people(registry)
