"""Long work on files is told in bytes, and does what the short way does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from penstock.build import strides
from penstock.build.strides import copied, digested


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(strides, "STRIDE_BYTES", 4 << 20)
    path = tmp_path / "model"
    path.write_bytes(os.urandom(10 << 20))
    return path


def test_a_copy_tells_how_far_it_is(large: Path, tmp_path: Path) -> None:
    said: list[str] = []
    copied(large, tmp_path / "copy", "copying the model", said.append)
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()
    assert said == [f"copying the model, {done} of 10 MB" for done in (0, 4, 8)]


def test_a_copy_between_file_systems_goes_on_where_sharing_ends(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def refused(source: int, target: int, count: int) -> int:
        calls.append(count)
        if len(calls) > 1:
            raise OSError(18, "Invalid cross-device link")
        return os.sendfile(target, source, None, count)

    monkeypatch.setattr(os, "copy_file_range", refused)
    copied(large, tmp_path / "copy", "copying the model", lambda step: None)
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


def test_a_digest_tells_how_far_it_is(large: Path) -> None:
    said: list[str] = []
    assert digested(large, "digest of it", said.append) == hashlib.sha256(large.read_bytes()).hexdigest()
    assert said[1] == "digest of it, 4 of 10 MB"


def test_small_files_are_not_worth_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "small").write_bytes(b"few")
    (tmp_path / "empty").write_bytes(b"")
    for name in ("small", "empty"):
        copied(tmp_path / name, tmp_path / f"{name}-copy", "copying", said.append)
        assert (tmp_path / f"{name}-copy").read_bytes() == (tmp_path / name).read_bytes()
        digested(tmp_path / name, "digest", said.append)
    assert not said
