"""What wakes a supervisor up."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from penstock.serve.snapshots import write_whole
from penstock.serve.supervisor import told_of_changes


def test_a_replaced_file_is_told_at_once(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, _: heard.append(number))
    try:
        notices = told_of_changes(tmp_path)
        assert notices is not None
        write_whole(tmp_path / "snapshot.json", b"one")
        after_first = len(heard)
        write_whole(tmp_path / "snapshot.json", b"two")
        assert 0 < after_first < len(heard)
        os.close(notices)
    finally:
        signal.signal(signal.SIGIO, before)


def test_a_folder_that_is_not_there_is_looked_at_instead(tmp_path: Path) -> None:
    assert told_of_changes(tmp_path / "none") is None
