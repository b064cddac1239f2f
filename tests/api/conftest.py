"""One seeded home for the tests that only look, and a way to a fresh one for those that change it."""

from __future__ import annotations

import pytest

from console_for_tests import Home, seeded_home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return seeded_home(tmp_path_factory.mktemp("seeded"))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Changed by the tests, each in a part of its own."""
    return seeded_home(tmp_path_factory.mktemp("changed"))
