"""The inference log under a disk that fails: predictions go on and losses are counted; strict endpoints refuse."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route, v2
from packages_for_tests import linear_package
from penstock.log.captures import captured
from penstock.log.journal import Journal
from penstock.log.tail import Tail
from penstock.records import Exchange, Limits
from penstock.serve.meters import Meters, totals
from penstock.serve.recorder import Recorder

BODY = v2([[1.0, 2.0, 3.0, 4.0]])
VALUES = ("a", "e", 1, "m", 1, "stable", 1.0, "a", 1.0, 1.0, 0.1, "ok", 1, {"X": [[1.0]]}, {"y": [1]})
EXCHANGE = captured(Exchange(*VALUES))


async def test_one_write_a_turn_and_strict_after_the_sync(tmp_path: Path) -> None:
    recorder = Recorder(Journal(tmp_path / "log", "worker-1"), Meters(tmp_path / "a.meter"))
    told: list[bool] = []
    for _ in range(3):
        recorder.record(EXCHANGE)
    recorder.when_durable(told.append)
    assert Tail(tmp_path / "log", Exchange).read() == []
    recorder.flush()
    assert len(Tail(tmp_path / "log", Exchange).read()) == 3
    assert told == [], "not before it is on disk"
    while not told:
        await asyncio.sleep(0.01)
    assert told == [True]
    recorder.close()


async def test_a_disk_that_fails_is_counted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    recorder = Recorder(Journal(tmp_path / "log", "worker-1"), Meters(tmp_path / "a.meter"))
    told: list[bool] = []
    recorder.record(EXCHANGE)
    recorder.when_durable(told.append)
    recorder.flush()
    assert told == [False]
    assert totals(tmp_path).log_lost == 1
    (tmp_path / "log").unlink()
    recorder.record(EXCHANGE)
    recorder.flush()
    assert len(Tail(tmp_path / "log", Exchange).read()) == 1, "back without a restart"
    recorder.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    place = tmp_path / "log"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_full_disk_stops_no_prediction(tmp_path: Path, small_disk: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("normal", digest), route("strict", digest, limits=Limits(log="strict")))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        assert plane.ask("POST", "/v2/models/strict/infer", BODY).status == 200
        for _ in range(600):
            assert plane.ask("POST", "/v2/models/normal/infer", BODY).status == 200
        refused = plane.ask("POST", "/v2/models/strict/infer", BODY)
        assert (refused.status, refused.json["code"]) == (503, "log.disk")
        lost = int(re.search(rb"penstock_log_lost_total (\d+)", plane.ask("GET", "/metrics").body)[1])
        assert len(plane.exchanges()) + lost == 602
        assert lost > 0
    finally:
        plane.stop()


async def test_what_is_written_is_synced_a_moment_later_and_nothing_wakes_up_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.serve.recorder.SYNC_S", 0.02)
    journal = Journal(tmp_path / "log", "worker-1")
    recorder = Recorder(journal, Meters(tmp_path / "a.meter"))
    for _ in range(2):
        assert recorder._due is None, "nothing to sync, nothing to wake up for"
        recorder.record(EXCHANGE)
        recorder.flush()
        assert journal.dirty
        while journal.dirty or recorder._syncing:
            await asyncio.sleep(0.01)
    recorder.record(EXCHANGE)
    recorder.close()
    assert not journal.dirty
