"""What the figures of reliability share: the table's lines, and a data plane of two versions under one name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane
from figures_for_tests import Figures
from tests.journeys.conftest import passed, passed_home, typist

__all__ = ["passed", "passed_home", "typist"]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """The figures of a test in a file named after its goal (``test_g05_overload.py``)."""
    found = re.match(r"test_(g\d\d)_", request.path.name)
    assert found is not None, "a file here is named after its goal"
    kept = Figures(found[1].upper(), request.node.name)
    yield kept
    if not kept.was_held:
        kept.hold()


@pytest.fixture
def plane_of(tmp_path: Path) -> Iterator[DataPlane]:
    """A data plane in a folder of its own, not yet started, stopped at the end."""
    made = DataPlane(tmp_path)
    yield made
    if made.process is not None:
        made.stop()
