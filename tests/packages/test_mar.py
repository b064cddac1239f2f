"""Archives that anybody may have made: a whole package comes of one, or nothing."""

from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archives_for_tests import CLASS, FUNCTION, archive
from penstock.errors import BadConfig, Untrusted
from penstock.packages.archive import Caps
from penstock.packages.archives import mar
from penstock.packages.archives.mar import MarArchive, import_mar, read_mar
from penstock.packages.handled import HANDLED
from penstock.packages.read import open_package

MANIFEST = "MAR-INF/MANIFEST.json"


def test_a_package_comes_of_it_and_nothing_is_run(tmp_path: Path) -> None:
    source = "raise SystemExit('it was run')\n" + CLASS
    made = import_mar(archive(tmp_path / "a.mar", source, files={"weights.txt": "1"}), tmp_path / "store")
    package = open_package(made.folder, digest=made.digest)
    assert package.manifest.signature == HANDLED
    assert (package.manifest.engine, package.manifest.kind, package.manifest.name) == ("python", "mar", "echo")
    assert package.manifest.parameters == {"modelVersion": "1.0"}
    assert (package.folder / "model" / "weights.txt").read_text() == "1"
    assert package.golden().rows == 0
    assert {path.name for path in (tmp_path / "store").iterdir()} == {made.folder.name}


def test_the_same_archive_is_the_same_package(tmp_path: Path) -> None:
    one = import_mar(archive(tmp_path / "a.mar", FUNCTION), tmp_path / "store")
    two = import_mar(archive(tmp_path / "b.mar", FUNCTION), tmp_path / "store")
    assert one.digest == two.digest
    other = import_mar(archive(tmp_path / "c.mar", FUNCTION + "\n"), tmp_path / "store")
    assert other.digest != one.digest


def test_requirements_become_the_lock(tmp_path: Path) -> None:
    place = archive(tmp_path / "a.mar", FUNCTION, files={"r.txt": "numpy==1.0\n"}, requirementsFile="some/where/r.txt")
    made = import_mar(place, tmp_path / "store")
    assert (made.folder / "requirements.lock").read_text() == "numpy==1.0\n"


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.py")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


MANIFESTS: dict[str, object] = {"no manifest": None, "a manifest that is no object": [], "no model": {}}
RUNTIMES = {"another runtime": "LSP"}
MODELS: dict[str, dict[str, object]] = {
    "no name": {"modelName": None},
    "a name with a path": {"modelName": "../x"},
    "a name that is a number": {"modelName": 1},
    "no handler": {"handler": None},
    "a handler elsewhere": {"handler": "../../etc/x.py"},
    "a handler of TorchServe's own": {"handler": "image_classifier"},
    "a handler with code": {"handler": "handler.py:handle();x"},
    "weights that are not there": {"serializedFile": "weights.pt"},
    "a manifest too large": {"serializedFile": "x" * (mar.MOST_MANIFEST_BYTES + 1)},
}
MEMBERS: dict[str, list[tuple[str | zipfile.ZipInfo, bytes]]] = {
    "a name that climbs": [("../evil.py", b"x")],
    "an absolute name": [("/evil.py", b"x")],
    "a hidden name": [(".evil", b"x")],
    "a backslash": [("a\\b.py", b"x")],
    "a name twice": [("HANDLER.py", b"x")],
    "a link": [(link(), b"/etc/passwd")],
    "a bomb": [("zeros.bin", bytes(1 << 23))],
    "too many": [(f"f{at}", b"") for at in range(60)],
}
BYTES: dict[str, Callable[[bytes], bytes]] = {
    "bytes before it": lambda data: b"#!/bin/sh\n" + data,
    "bytes behind it": lambda data: data + b"more",
    "a half": lambda data: data[:200],
    "no zip": lambda _: b"\x1f\x8b" + bytes(100),
    "nothing": lambda _: b"",
}


def spoiled(place: Path, what: str) -> None:
    """An archive with one thing wrong."""
    model = {"modelName": "echo", "handler": "handler.py", **MODELS.get(what, {})}
    told = {"runtime": RUNTIMES.get(what, "python"), "model": {k: v for k, v in model.items() if v is not None}}
    manifest = MANIFESTS.get(what, told)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in [("handler.py", FUNCTION.encode()), *MEMBERS.get(what, [])]:
            file.writestr(name, data)
        if manifest is not None:
            file.writestr(MANIFEST, json.dumps(manifest))
    place.write_bytes(BYTES.get(what, bytes)(place.read_bytes()))


SPOILED = {
    "no manifest": Untrusted, "a manifest that is no object": Untrusted, "no model": Untrusted, "no name": Untrusted,
    "a name with a path": Untrusted, "a name that is a number": Untrusted, "no handler": Untrusted,
    "a handler elsewhere": BadConfig, "a handler of TorchServe's own": BadConfig, "a handler with code": Untrusted,
    "another runtime": BadConfig, "weights that are not there": Untrusted, "a name that climbs": Untrusted,
    "an absolute name": Untrusted, "a hidden name": Untrusted, "a backslash": Untrusted, "a name twice": Untrusted,
    "a link": Untrusted, "a bomb": Untrusted, "too many": Untrusted, "a manifest too large": Untrusted,
    "bytes before it": Untrusted, "bytes behind it": Untrusted, "a half": Untrusted, "no zip": Untrusted,
    "nothing": Untrusted,
}  # fmt: skip


@pytest.mark.parametrize("what", SPOILED)
def test_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(mar, "MAR_CAPS", Caps(files=50, total_bytes=1 << 22, ratio=100))
    spoiled(tmp_path / "a.mar", what)
    with pytest.raises(SPOILED[what]):
        import_mar(tmp_path / "a.mar", tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    assert not list(tmp_path.glob("evil*"))


@pytest.mark.parametrize("what", [*MANIFESTS, *MODELS, *BYTES])
def test_looking_at_one_breaks_nothing(tmp_path: Path, what: str) -> None:
    spoiled(tmp_path / "a.mar", what)
    try:
        assert read_mar(tmp_path / "a.mar").handler
    except (Untrusted, BadConfig):
        return


@pytest.mark.parametrize(
    ("said", "number"),
    [("1.0", 1), ("2.0", 2), ("17", 17), ("03.1", 3), ("0", 1), ("", 1), ("v2", 1), ("1" * 12, 1)],
)
def test_a_version_is_a_whole_number_here(tmp_path: Path, said: str, number: int) -> None:
    place = archive(tmp_path / "a.mar", FUNCTION, modelVersion=said)
    assert MarArchive().named(place) == ("echo", number)
    assert MarArchive().make(place, tmp_path / "store").manifest.parameters == {"modelVersion": said}


def test_takes_what_is_not_spoiled(tmp_path: Path) -> None:
    spoiled(tmp_path / "a.mar", "")
    assert import_mar(tmp_path / "a.mar", tmp_path / "store").manifest.name == "echo"
