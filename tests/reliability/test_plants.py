"""Every fault that is planted still fits what it changes; `make soak-teeth` sees each turn its figure red."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.plants.plants import PLANTS, Plant
from tests.reliability.plants.teeth import planted
from tests.reliability.soak import TESTS

SOURCE = Path(__file__).parents[2] / "src" / "penstock"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.goal}: {plant.what}")
def test_it_fits(plant: Plant) -> None:
    compile(planted((SOURCE / plant.file).read_text(), plant), plant.file, "exec")
    assert (Path(__file__).parents[2] / plant.test.partition("::")[0]).exists()


def test_every_goal_has_one() -> None:
    assert {plant.goal for plant in PLANTS} == set(TESTS)
