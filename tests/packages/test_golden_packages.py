"""Packages of every format ever written still open, are still trusted, and still answer the same, served too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route
from penstock.packages.manifest import READABLE
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.runtime.engine import open_engine, prove

GOLDEN = Path(__file__).parents[1] / "golden"
COMPILED = sorted(GOLDEN.glob("format-*"))
SANDBOXED = sorted(GOLDEN.glob("sandboxed-*"))
PLACES = {"flights": GOLDEN / "format-1", "fares": GOLDEN / "sandboxed-1"}


def test_there_is_one_of_every_readable_format_and_kind_of_engine() -> None:
    for places, engine in ((COMPILED, "onnxruntime"), (SANDBOXED, "python")):
        assert [int(place.name.partition("-")[2]) for place in places] == sorted(READABLE)
        assert {json.loads((one / "package" / "manifest.json").read_text())["engine"] for one in places} == {engine}


@pytest.mark.parametrize("place", [*COMPILED, *SANDBOXED], ids=lambda one: one.name)
def test_an_old_package_opens_and_answers_the_same(place: Path) -> None:
    key = load_public_key(place / "package.pub")
    package = open_package(place / "package", keys=[key], digest=json.loads((place / "digest.json").read_text()))
    assert package.golden().rows > 16
    engine = open_engine(package)
    prove(engine, package)
    engine.close()
    assert sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) < 60_000


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """Both kinds, behind their signers' keys."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "trusted.pub").write_bytes(b"".join((at / "package.pub").read_bytes() for at in PLACES.values()))
    made = DataPlane(folder)
    digests = {name: json.loads((at / "digest.json").read_text()) for name, at in PLACES.items()}
    made.packages = {digests[name]: str(shutil.copytree(at / "package", folder / name)) for name, at in PLACES.items()}
    made.write(*(route(name, digest) for name, digest in digests.items()))
    made.start("--spares", "0", "--keys", str(folder / "trusted.pub"), workers=1)
    try:
        made.settled(workers=1)
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("name", PLACES)
def test_served_it_answers_what_it_answered_when_it_was_made(plane: DataPlane, name: str) -> None:
    kept = json.loads((GOLDEN / "sandboxed-1" / "served.json").read_text())[name]
    answer = plane.ask("POST", f"/v2/models/{name}/infer", json.dumps(kept["request"]))
    assert answer.status == 200, answer.body
    for given, wanted in zip(answer.json["outputs"], kept["outputs"], strict=True):
        assert {key: given[key] for key in ("name", "datatype", "shape")} == {
            key: wanted[key] for key in ("name", "datatype", "shape")
        }
        for one, other in zip(given["data"], wanted["data"], strict=True):
            assert one == (pytest.approx(other, rel=1e-5, abs=1e-6) if isinstance(other, float) else other)
