"""Artifacts by digest: whole or absent, once, never through a link."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.access.files import TEMPORARY, locked
from penstock.errors import InvalidInput, NotFound, Untrusted
from penstock.registry.blobs import Blobs

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path / "blobs")
    made.clean()
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source" / "a").write_bytes(b"a")
    (tmp_path / "source" / "inner" / "b").write_bytes(b"b" * 100_000)
    return tmp_path / "source"


def names(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "blobs"))


def test_bytes_are_kept_once_under_their_digest(blobs: Blobs, tmp_path: Path) -> None:
    digest = blobs.put_bytes(b"report", suffix=".html")
    assert digest == "sha256:" + hashlib.sha256(b"report").hexdigest()
    before = blobs.path(digest, suffix=".html").stat()
    assert blobs.put_bytes(b"report", suffix=".html") == digest
    assert blobs.path(digest, suffix=".html").stat() == before
    assert blobs.path(digest, suffix=".html").read_bytes() == b"report"
    assert names(tmp_path) == [digest.removeprefix("sha256:") + ".html"]


def test_a_folder_is_copied_read_only_and_once(blobs: Blobs, source: Path, tmp_path: Path) -> None:
    place = blobs.put_folder(source, DIGEST)
    assert place == blobs.path(DIGEST)
    assert (place / "inner" / "b").read_bytes() == b"b" * 100_000
    assert (place / "a").stat().st_mode & 0o777 == 0o444
    (source / "a").write_bytes(b"other")
    assert (blobs.put_folder(source, DIGEST) / "a").read_bytes() == b"a"
    assert names(tmp_path) == ["a" * 64]


def test_a_copy_that_is_refused_leaves_nothing(blobs: Blobs, source: Path, tmp_path: Path) -> None:
    def refuse(copy: Path) -> None:
        assert (copy / "inner" / "b").exists()
        raise Untrusted("no")

    with pytest.raises(Untrusted):
        blobs.put_folder(source, DIGEST, check=refuse)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_only_files_and_folders_are_copied(blobs: Blobs, source: Path, tmp_path: Path, kind: str) -> None:
    odd = source / "inner" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(source / ("a" if kind == "link" else "none"))
    with pytest.raises(Untrusted) as caught:
        blobs.put_folder(source, DIGEST)
    assert caught.value.where == "odd"
    assert names(tmp_path) == []


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        blobs.path(DIGEST)


@given(st.one_of(st.text(max_size=80), st.text(max_size=20).map(lambda end: "sha256:" + "a" * 60 + end)))
def test_a_digest_is_never_a_path(text: str) -> None:
    with pytest.raises((InvalidInput, NotFound)):
        Blobs(Path("/nowhere")).path(text)
    with pytest.raises((InvalidInput, NotFound)):
        Blobs(Path("/nowhere")).path(DIGEST, suffix=text if text else "/..")


def test_leftovers_go_at_the_next_start_but_not_under_a_writer(blobs: Blobs, tmp_path: Path) -> None:
    left = tmp_path / "blobs" / f"{TEMPORARY}left"
    left.mkdir()
    with locked(tmp_path / "blobs.lock", shared=True):
        blobs.clean()
        assert left.exists(), "somebody may be writing it"
    blobs.clean()
    assert names(tmp_path) == []
