"""A version becomes a folder: whole or not at all, the package in it as it was signed."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

import msgspec
import pytest

from exports_for_tests import export, make_home
from penstock.adapters import TABLE
from penstock.app import exporting
from penstock.app.exporting import export_version
from penstock.app.opening import open_app
from penstock.errors import BadConfig, Conflict, NotFound, Untrusted
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.release.exports.azureml import AzureMlExport


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("exporting") / "home")


@pytest.mark.parametrize("kind", sorted(TABLE["export"]))
def test_the_package_is_there_with_the_key_that_signed_it(home: Path, tmp_path: Path, kind: str) -> None:
    made = export(home, kind, tmp_path / "deep" / "folder")
    (manifest,) = made.folder.rglob("package/manifest.json")
    (key,) = made.folder.rglob("package.pub")
    assert key.parent == manifest.parents[1]
    package = open_package(manifest.parent, keys=[load_public_key(key)], digest=made.digest)
    assert package.manifest.name == "m"
    assert set(made.files) == {
        path.relative_to(made.folder).as_posix()
        for path in made.folder.rglob("*")
        if path.is_file() and manifest.parent not in path.parents
    }
    assert os.listdir(tmp_path / "deep") == ["folder"], "nothing is left beside it"
    for path in made.folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_all_that_answers_is_pinned_as_it_is_here(home: Path, tmp_path: Path) -> None:
    export(home, "lambda", tmp_path / "folder")
    lines = (tmp_path / "folder" / "requirements.txt").read_text().splitlines()
    for name in ("penstock", "onnxruntime", "numpy", "msgspec"):
        assert f"{name}=={metadata.version(name)}" in lines
    assert not [line for line in lines if line.startswith(("pandas", "fastapi", "typer"))]


def test_a_dry_run_says_the_same_and_writes_nothing(home: Path, tmp_path: Path) -> None:
    said = export_version(open_app(home), "m@2", "lambda", tmp_path / "folder", dry_run=True)
    assert not (tmp_path / "folder").exists()
    assert said == export(home, "lambda", tmp_path / "folder")


def test_an_empty_folder_is_taken_and_a_full_one_is_not(home: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    export(home, "lambda", tmp_path / "empty")
    with pytest.raises(Conflict):
        export(home, "azureml", tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Conflict):
        export(home, "lambda", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_fault_on_the_way_leaves_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AzureMlExport, "files", lambda *_: {"code/score.py": "x", "code": "y"})
    with pytest.raises(OSError, match="directory"):
        export(home, "azureml", tmp_path / "folder")
    assert os.listdir(tmp_path) == []


def test_what_is_not_there_or_not_right_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = open_app(home)
    with pytest.raises(NotFound, match="there is no export called mainframe"):
        export_version(app, "m@2", "mainframe", tmp_path / "folder")
    with pytest.raises(NotFound):
        export_version(app, "m@9", "lambda", tmp_path / "folder")
    package = app.open_package(app.resolve("m@2").version.digest)
    code = msgspec.structs.replace(package, manifest=msgspec.structs.replace(package.manifest, engine="python"))
    monkeypatch.setattr(exporting.App, "open_package", lambda *_: code)
    with pytest.raises(BadConfig, match="carries code"):
        export_version(app, "m@2", "lambda", tmp_path / "folder")


def test_a_package_that_was_touched_is_not_exported(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    app = open_app(home)
    model = app.registry.packages.path(app.resolve("m@2").version.digest) / "model/model.onnx"
    model.chmod(0o644)
    model.write_bytes(model.read_bytes()[:-1] + b"!")
    with pytest.raises(Untrusted):
        export_version(app, "m@2", "lambda", tmp_path / "folder")
