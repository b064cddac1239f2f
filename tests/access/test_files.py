"""Files are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.access.files import (
    TEMPORARY,
    locked,
    locked_if_free,
    make_folder,
    remove_leftovers,
    write_new,
    write_whole,
)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    place = tmp_path / "a"
    write_whole(place, b"one", mode=0o600)
    write_whole(place, b"two", mode=0o600)
    assert place.read_bytes() == b"two"
    assert place.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "a", b"one")
    assert os.listdir(tmp_path) == ["a"]


def test_a_new_file_is_never_an_old_one_or_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "link", b"x")
    assert not (tmp_path / "target").exists()


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}folder" / "inner").mkdir(parents=True)
    (tmp_path / f"{TEMPORARY}file").write_text("x")
    (tmp_path / "kept").write_text("x")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


def test_folders_are_made_private_and_stay(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_a_lock_excludes_others_and_dies_with_its_holder(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    with locked(place), locked_if_free(place) as free:
        assert not free
    with locked(place, shared=True), locked(place, shared=True), locked_if_free(place) as free:
        assert not free
    code = (
        "import os, sys, pathlib; from penstock.access.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, place]).returncode == 9
    with locked_if_free(place) as free:
        assert free
