"""What wakes a supervisor up."""

from __future__ import annotations

import signal
from pathlib import Path

from penstock.serve.snapshots import write_whole
from penstock.serve.supervisor import told_of_changes


def test_a_replaced_file_is_told_at_once(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: heard.append(number))
    try:
        assert told_of_changes(tmp_path)
        write_whole(tmp_path / "snapshot.json", b"one")
        after_first = len(heard)
        write_whole(tmp_path / "snapshot.json", b"two")
        assert 0 < after_first < len(heard)
    finally:
        signal.signal(signal.SIGIO, before)


def test_a_folder_that_is_not_there_is_looked_at_instead(tmp_path: Path) -> None:
    assert not told_of_changes(tmp_path / "none")
