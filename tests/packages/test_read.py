"""Every way to change a package is found, and the file at fault is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.errors import NotFound, Untrusted
from penstock.packages.digests import named, sha256_file
from penstock.packages.keys import PrivateKey, new_package_key
from penstock.packages.read import open_package

FILES = (
    "manifest.json",
    "signature.json",
    "model/model.onnx",
    "golden.json",
    "parity.json",
    "requirements.lock",
)


def edit(folder: Path, name: str) -> str:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    return name


def append(folder: Path, name: str) -> str:
    (folder / name).write_bytes((folder / name).read_bytes() + b"x")
    return name


def cut(folder: Path, name: str) -> str:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    return name


def empty(folder: Path, name: str) -> str:
    (folder / name).write_bytes(b"")
    return name


def remove(folder: Path, name: str) -> str:
    (folder / name).unlink()
    return name


def rename(folder: Path, name: str) -> str:
    (folder / name).rename(folder / f"{name}.old")
    return name


def add(folder: Path, name: str) -> str:
    (folder / f"{name}.extra").write_bytes(b"")
    return f"{name}.extra"


def symlink(folder: Path, name: str) -> str:
    shutil.move(folder / name, folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")
    return name


def hard_link(folder: Path, name: str) -> str:
    os.link(folder / name, folder.parent / "elsewhere")
    return name


def fifo(folder: Path, name: str) -> str:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    return name


def swap(folder: Path, name: str) -> str:
    other = "golden.json" if name != "golden.json" else "parity.json"
    mine, theirs = (folder / name).read_bytes(), (folder / other).read_bytes()
    (folder / name).write_bytes(theirs)
    (folder / other).write_bytes(mine)
    return name


TAMPERS = (edit, append, cut, empty, remove, rename, add, symlink, hard_link, fifo, swap)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("tamper", TAMPERS, ids=lambda one: one.__name__)
def test_tampering_is_refused_and_the_file_named(
    folder: Path, key: PrivateKey, tamper: Callable[[Path, str], str], name: str
) -> None:
    at_fault = tamper(folder, name)
    with pytest.raises(Untrusted) as refusal:
        open_package(folder, keys=[key.public_key()])
    acceptable = {at_fault}
    if tamper is rename:
        acceptable.add(f"{name}.old")
    if tamper is swap:
        acceptable |= {"golden.json", "parity.json"}
    assert refusal.value.where in acceptable


def test_an_untouched_package_opens(folder: Path, key: PrivateKey) -> None:
    package = open_package(folder, keys=[new_package_key().public_key(), key.public_key()])
    assert package.digest == named(sha256_file(folder / "manifest.json"))
    assert package.entry.read_bytes() == b"not really a graph"
    assert package.golden().rows == 2
    with pytest.raises(NotFound):
        package.path("../manifest.json")


def test_a_linked_folder_inside_is_refused(folder: Path, key: PrivateKey) -> None:
    shutil.move(folder / "model", folder.parent / "model")
    (folder / "model").symlink_to(folder.parent / "model")
    with pytest.raises(Untrusted) as refusal:
        open_package(folder, keys=[key.public_key()])
    assert refusal.value.where == "model"


@pytest.mark.parametrize("keys", [[], [new_package_key().public_key()]], ids=["nobody", "stranger"])
def test_a_signature_of_nobody_trusted_is_refused(folder: Path, keys: list[object]) -> None:
    with pytest.raises(Untrusted) as refusal:
        open_package(folder, keys=keys)  # type: ignore[arg-type]
    assert refusal.value.where == "signature.json"


def test_an_unsigned_package_opens_only_where_nobody_has_to_have_signed(folder: Path, key: PrivateKey) -> None:
    (folder / "signature.json").unlink()
    assert open_package(folder).manifest.name == "doubler"
    with pytest.raises(Untrusted) as refusal:
        open_package(folder, keys=[key.public_key()])
    assert refusal.value.where == "signature.json"


def test_another_package_than_asked_for_is_refused(folder: Path) -> None:
    right = open_package(folder).digest
    assert open_package(folder, digest=right).digest == right
    with pytest.raises(Untrusted):
        open_package(folder, digest=named("0" * 64))
    with pytest.raises(Untrusted):
        open_package(folder, digest="../../etc")


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a//b", "a/./b", "", "a/../b", ".hidden", "a\\b", "ä", "con."]
)
def test_a_manifest_that_names_files_by_odd_paths_is_refused(folder: Path, name: str) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("parity.json", name.replace("\\", "\\\\")))
    with pytest.raises(Untrusted):
        open_package(folder)


def test_a_newer_format_says_so(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"format":1', '"format":2'))
    with pytest.raises(Untrusted, match="has format 2 and this version reads 1"):
        open_package(folder)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_any_changed_byte_anywhere_is_refused(folder: Path, key: PrivateKey, name: str, at: float, flip: int) -> None:
    whole = (folder / name).read_bytes()
    changed = bytearray(whole)
    changed[int(at * len(whole))] ^= flip
    try:
        (folder / name).write_bytes(changed)
        with pytest.raises(Untrusted) as refusal:
            open_package(folder, keys=[key.public_key()])
        assert refusal.value.where == name
    finally:
        (folder / name).write_bytes(whole)
