"""Packages of every format ever written still open, are still trusted, and still answer the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.packages.manifest import READABLE
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.runtime.engine import open_engine, prove

GOLDEN = Path(__file__).parents[1] / "golden"
FORMATS = sorted(GOLDEN.glob("format-*"))


def test_there_is_one_of_every_readable_format() -> None:
    assert [int(place.name.removeprefix("format-")) for place in FORMATS] == sorted(READABLE)


@pytest.mark.parametrize("place", FORMATS, ids=lambda one: one.name)
def test_an_old_package_opens_and_answers_the_same(place: Path) -> None:
    key = load_public_key(place / "package.pub")
    package = open_package(place / "package", keys=[key], digest=json.loads((place / "digest.json").read_text()))
    assert package.golden().rows > 16
    engine = open_engine(package)
    prove(engine, package)
    engine.close()
    assert sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) < 60_000
