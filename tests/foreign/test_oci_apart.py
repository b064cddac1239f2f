"""A package whose graph's numbers lie beside it goes every way that a package goes; changed numbers go none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from apart_for_tests import NUMBERS, answers, apart_version, rows_of
from dataplane_for_tests import DataPlane, route, until, v2
from oci_for_tests import DEBIAN, debian_registry
from penstock.app.app import App
from penstock.app.checking import check
from penstock.app.compressing import CompressRequest, compress
from penstock.app.keys import resign, revoke_key, trust_key
from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.app.pushing import push
from penstock.app.registering import register_package
from penstock.errors import PenstockError, Untrusted
from penstock.packages.read import Package, open_package
from penstock.records import Version
from penstock.registry.verify import verify

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(DEBIAN is None, reason="there is no docker-registry here: apt install docker-registry"),
]
ASKED = rows_of(5, seed=9)
SMALLER = CompressRequest(kinds=("dynamic_int8",), by="size", tolerance=1.0, dry_run=True)


class Made(NamedTuple):
    """A home with the version, and what was registered."""

    app: App
    version: Version
    package: Package

    @property
    def numbers(self) -> Path:
        return self.app.registry.packages.path(self.version.digest) / NUMBERS


class Registry(NamedTuple):
    place: str
    blobs: Path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with debian_registry(folder) as place:
        yield Registry(place, folder / "blobs")


@pytest.fixture
def ours(tmp_path: Path) -> Made:
    app = open_app(tmp_path / "ours")
    return Made(app, *apart_version(app, tmp_path / "place"))


def spoil(file: Path) -> None:
    """One bit of the last number."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x40
    file.chmod(0o644)
    file.write_bytes(data)


def served(folder: Path, home: Path, meanwhile: Callable[[DataPlane], None] = lambda plane: None) -> list[float]:
    """What a data plane answers after that; nothing where it refuses the package."""
    plane = DataPlane(home)
    digest = open_package(folder).digest
    plane.packages[digest] = str(folder)
    plane.write(route("apart", digest))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        meanwhile(plane)
        answer = plane.ask("POST", "/v2/models/apart/infer", v2(ASKED.tolist()).replace('"X"', '"x"'))
        return answer.json["outputs"][0]["data"] if answer.status == 200 else []
    finally:
        plane.stop()


def test_it_is_pushed_pulled_judged_compressed_signed_anew_and_served(
    registry: Registry, ours: Made, tmp_path: Path
) -> None:
    assert NUMBERS in ours.package.manifest.files
    there = f"oci://{registry.place}/apart/whole"
    pushed = push(ours.app, "apart@1", there)
    theirs = open_app(tmp_path / "theirs")
    pulled = pull(theirs, f"{there}:1", trust=ours.app.home / "keys" / "package.pub")
    assert (pulled.digest, pulled.moved) == (ours.version.digest, pushed.files)
    other = Made(theirs, ours.version, theirs.open_package(pulled.digest))
    assert other.numbers.read_bytes() == ours.numbers.read_bytes()

    verdict = check(ours.app, "apart@1")
    assert {("quality", "pass"), ("stability", "pass")} <= {(one.check, one.outcome) for one in verdict.findings}
    found = compress(ours.app, "apart@1", SMALLER)
    assert any(one.cost and one.cost.size_bytes < 300_000 for one in found.tried), found
    revoke_key(ours.app, ours.app.package_key.public_key().hint, reason="lost")
    with pytest.raises(Untrusted):
        ours.app.open_package(ours.version.digest)
    resign(ours.app, "apart@1", reason="as on the day of its registration")
    assert ours.app.open_package(ours.version.digest).digest == ours.version.digest
    for app in (ours.app, theirs):
        assert verify(app.home, [app.registry.public_key]).ok

    # Who changes them while they are served changes nothing that answers.
    given = served(other.numbers.parents[1], tmp_path / "plane", lambda plane: spoil(other.numbers))
    np.testing.assert_allclose(given, answers(ASKED), rtol=1e-4, atol=1e-5)


def test_changed_numbers_are_refused_at_every_door(registry: Registry, ours: Made, tmp_path: Path) -> None:
    app = ours.app
    there = f"oci://{registry.place}/apart/changed"
    push(app, "apart@1", f"{there}:good")
    built = tmp_path / "place" / "out" / ours.version.digest.partition(":")[2]
    plane = DataPlane(tmp_path / "plane")
    plane.packages[ours.version.digest] = str(ours.numbers.parents[1])
    spoil(ours.numbers)
    spoil(built / NUMBERS)
    third = open_app(tmp_path / "third")
    trust_key(third, app.home / "keys" / "package.pub")
    doors: dict[str, Callable[[], object]] = {
        "open": lambda: app.open_package(ours.version.digest),
        "push": lambda: push(app, "apart@1", f"{there}:bad"),
        "check": lambda: check(app, "apart@1"),
        "compress": lambda: compress(app, "apart@1", SMALLER),
        "resign": lambda: resign(app, "apart@1", reason="nobody looks"),
        "register": lambda: register_package(third, ours.package),
    }
    for name, door in doors.items():
        with pytest.raises(Untrusted) as refused:
            door()
        assert refused.value.where == NUMBERS, name
    (problem,) = verify(app.home, [app.registry.public_key]).problems
    assert NUMBERS in f"{problem}"
    plane.write(route("apart", ours.version.digest))
    plane.start("--spares", "0", workers=1)
    try:
        until(lambda: any(ours.version.digest in one.failed for one in plane.statuses()))
        assert plane.ask("POST", "/v2/models/apart/infer", v2(ASKED.tolist())).status == 503
    finally:
        plane.stop()

    # A registry that holds other bytes under that digest.
    theirs = open_app(tmp_path / "theirs")
    hexes = ours.package.manifest.files[NUMBERS].sha256
    (blob,) = registry.blobs.rglob(f"{hexes}/data")
    spoil(blob)
    with pytest.raises(PenstockError) as changed:
        pull(theirs, f"{there}:good", trust=app.home / "keys" / "package.pub")
    assert changed.value.code.startswith(("oci.", "packages."))
    assert theirs.state().models == {}
