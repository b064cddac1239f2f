"""Compaction beside the turns: it happens, never twice at once, never in the way, and tells what fails."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from penstock.app.compaction import Compaction
from penstock.log.journal import Journal
from penstock.log.tables import exchanges
from penstock.log.tail import Tail, payload
from penstock.records import Exchange


def write(place: Path, count: int, writer: str = "worker-0") -> None:
    journal = Journal(place / "journal", writer)
    for number in range(count):
        made = Exchange(
            id=f"{writer}{number:04}", endpoint="e", release=1, model="m", version=1, variant="stable", share=1.0,
            key="k", event_time=1.0 + number, received_at=1.0, latency_s=0.001, code="ok", rows=1,
            inputs={"x": [1.0]}, outputs={"label": [1]},
        )  # fmt: skip
        journal.append(payload(made))
    journal.close()


def until(place: Path, rows: int) -> int:
    deadline = time.monotonic() + 90
    while (found := exchanges(place).num_rows) < rows and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def running() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "compaction"]


def test_turns_bring_journals_into_tables(tmp_path: Path) -> None:
    write(tmp_path, 5)
    compaction = Compaction(tmp_path, every_s=0.0)
    compaction.turn()
    assert until(tmp_path, 5) == 5
    compaction.finish()
    assert exchanges(tmp_path).num_rows == 5, "once and no more"


def test_it_waits_its_time(tmp_path: Path) -> None:
    write(tmp_path, 1)
    compaction = Compaction(tmp_path, every_s=3600.0)
    compaction.turn()
    assert not running()


def test_never_two_at_once_and_no_turn_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(place: Path) -> object:
        begun.release()
        go_on.wait(90)
        raise OSError("the disk is full")

    monkeypatch.setattr("penstock.app.compaction.compact", slow)
    compaction = Compaction(tmp_path, every_s=0.0)
    compaction.turn()
    assert begun.acquire(timeout=90)
    for _ in range(20):
        compaction.turn()
    assert len(running()) == 1
    go_on.set()
    compaction.finish()


def test_what_fails_is_told_and_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, 3)
    (tmp_path / "tables").write_text("in the way")
    compaction = Compaction(tmp_path, every_s=0.0)
    with caplog.at_level(logging.ERROR, "penstock.compaction"):
        compaction.finish()
    assert "a compaction failed" in caplog.text
    (tmp_path / "tables").unlink()
    compaction.finish()
    assert exchanges(tmp_path).num_rows == 3


def test_a_damaged_segment_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, 3)
    write(tmp_path, 2, "worker-1")
    broken = next((tmp_path / "journal").glob("worker-0*"))
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 0xFF
    broken.write_bytes(data)
    compaction = Compaction(tmp_path)
    with caplog.at_level(logging.ERROR, "penstock.compaction"):
        compaction.finish()
        compaction.finish()
    assert caplog.text.count(broken.name) == 1
    assert exchanges(tmp_path).num_rows >= 2, "the others go on"


def test_old_segments_give_way_and_stay_in_the_tables(tmp_path: Path) -> None:
    write(tmp_path, 4)
    tail = Tail(tmp_path / "journal", Exchange)
    assert len(tail.read()) == 4
    Compaction(tmp_path, keep_s=-1.0).finish()
    assert not list((tmp_path / "journal").glob("*.wal"))
    assert exchanges(tmp_path).num_rows == 4
    write(tmp_path, 2, "worker-1")
    assert len(tail.read()) == 2
