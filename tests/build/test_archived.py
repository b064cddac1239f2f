"""A TorchServe archive as a package: registered like any other, its handler behind the walls, asked over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from archives_for_tests import CLASS, archive
from dataplane_for_tests import DataPlane, route, until
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, InvalidInput, ModelFailed, NotFound, Untrusted
from penstock.packages.handled import HANDLED
from penstock.packages.keys import new_package_key
from penstock.packages.read import Package, open_package

JSON = {"Content-Type": "application/json"}


def sums(place: Path) -> Path:
    return archive(place / "sums.mar", CLASS, name="sums", files={"weights.txt": "2.5"})


def made(file: Path, out: Path, **more: object) -> Package:
    return build(Path(f"mar:{file}"), BuildRequest(name="totals", out=out, **more))


def test_it_is_registered_and_answers_as_its_handler_does(tmp_path: Path) -> None:
    app = open_app(tmp_path / "home")
    version, manifest = package(
        app, PackageRequest(name="totals", model=Path(f"mar:{sums(tmp_path)}"), tables={}, label="")
    )
    assert (version.ref, version.engine) == ("totals@1", "python")
    assert (manifest.kind, manifest.signature, manifest.source["archive"]) == ("mar", HANDLED, "sums 1.0")
    assert "sbom.json" in manifest.files
    kept = next((tmp_path / "home" / "packages").glob("*/manifest.json")).parent
    opened = open_package(kept, digest=version.digest, keys=[app.package_key.public_key()])
    assert "handler.py" not in sys.modules
    assert opened.entry.name == "MANIFEST.json"
    plane = DataPlane(tmp_path / "plane")
    plane.packages[version.digest] = str(kept)
    plane.write(route("totals", version.digest))
    plane.start("--spares", "0", workers=1)
    try:
        until(lambda: len(plane.statuses()) == 1 and plane.ask("GET", "/v2/models/totals/ready").status == 200)
        answer = plane.ask("POST", "/predictions/totals", b"[1, 2, 3]", JSON)
        assert (answer.status, answer.json) == (200, {"name": "sums", "sum": 15.0})
        tensor = (
            '{"inputs": [{"name": "body", "shape": [1], "datatype": "BYTES", "data": ["data:application/json,[4]"]}]}'
        )
        assert plane.ask("POST", "/v2/models/totals/infer", tensor).status == 200
    finally:
        plane.stop()


def test_a_handler_that_does_not_load_is_refused_before_it_is_registered(tmp_path: Path) -> None:
    with pytest.raises(ModelFailed):
        made(archive(tmp_path / "a.mar", "raise ValueError('no')\n" + CLASS), tmp_path / "out")
    with pytest.raises(ModelFailed):
        made(archive(tmp_path / "b.mar", CLASS), tmp_path / "out")  # without its weights
    assert [one.name for one in (tmp_path / "out").iterdir()] == []


def test_one_with_requirements_of_its_own_is_loaded_where_it_is_served(tmp_path: Path) -> None:
    file = archive(
        tmp_path / "a.mar", "import not_here\n" + CLASS, files={"r.txt": "not-here==1.0\n"}, requirementsFile="r.txt"
    )
    package = made(file, tmp_path / "out", key=new_package_key())
    assert "first time where it is served" in package.manifest.source["not_loaded"]
    assert (package.folder / "requirements.lock").read_text() == "not-here==1.0\n"


def test_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    with pytest.raises(InvalidInput, match="takes bodies"):
        made(sums(tmp_path), tmp_path / "out", data=tmp_path / "rows.csv")


def test_what_only_a_graph_or_rows_can_show_is_refused(tmp_path: Path) -> None:
    file = sums(tmp_path)
    with pytest.raises(BadConfig, match="compiled graphs alone") as refused:
        made(file, tmp_path / "out", providers=("CPUExecutionProvider",))
    assert (refused.value.code, "--provider" in refused.value.hint) == ("runtime.no_graph", True)
    with pytest.raises(BadConfig, match="no examples") as refused:
        made(file, tmp_path / "out", prove_environment=True)
    assert (refused.value.code, "--prove-environment" in refused.value.hint) == ("build.no_environment", True)


def test_what_is_no_archive_or_brings_no_handler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        made(tmp_path / "none.mar", tmp_path / "out")
    (tmp_path / "no.mar").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(Untrusted):
        made(tmp_path / "no.mar", tmp_path / "out")
    with pytest.raises(BadConfig, match="no file of its handler"):
        made(archive(tmp_path / "own.mar", CLASS, entry="handler.py", handler="image_classifier"), tmp_path / "out")
    link = tmp_path / "link.mar"
    link.symlink_to(sums(tmp_path))
    with pytest.raises(Untrusted):
        made(link, tmp_path / "out")
