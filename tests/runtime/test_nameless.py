"""Copies that are mapped and have no name any more, wherever they are made, and whatever ends who makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock.errors import NotReady
from penstock.runtime.nameless import PREFIX, nameless


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_it_is_ours_alone_and_gone_afterwards(place: Path) -> None:
    with nameless(10) as folder:
        assert folder.parent == place
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "numbers").write_bytes(b"x")
    assert list(place.iterdir()) == []
    with pytest.raises(ValueError, match="mine"), nameless(10):
        raise ValueError("mine")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_taken_away_and_what_others_fill_is_not(place: Path) -> None:
    script = (
        "import time\nfrom penstock.runtime.nameless import nameless\n"
        "with nameless(1) as folder:\n    (folder / 'n').write_bytes(b'1')\n    print(folder, flush=True)\n"
        "    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())
    with nameless(1):
        assert (left / "n").exists()
    other.kill()
    other.wait()
    assert (left / "n").exists()
    with nameless(1):
        assert not left.exists()


def test_a_link_of_that_name_leads_nowhere(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    mine = tmp_path_factory.mktemp("mine")
    (mine / "kept").write_bytes(b"1")
    (place / f"{PREFIX}link").symlink_to(mine)
    with nameless(1):
        pass
    assert (mine / "kept").exists()


def test_where_there_is_no_room_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotReady, match="MiB") as refused, nameless(1 << 60):
        pass
    assert (refused.value.code, "TMPDIR" in refused.value.hint) == ("runtime.no_room", True)

    def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(NotReady), nameless(1):
        full()


def test_a_place_that_may_not_be_written_is_passed_over(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(place / "none"))
    with nameless(1) as folder:
        assert folder.parent == Path("/var/tmp")
