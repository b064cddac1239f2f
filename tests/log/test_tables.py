from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.log.journal import Journal
from penstock.log.outcomes import OutcomeLog
from penstock.log.tables import compact, exchanges, outcomes, prune, views
from penstock.log.tail import payload
from penstock.records import Exchange, Outcome


def exchange(number: int, *, rows: int = 2, endpoint: str = "flights") -> Exchange:
    columns = {"X": [[float(i), 1.0] for i in range(rows)], "carrier": ["UA"] * rows}
    return Exchange(
        f"e{number}", endpoint, 1, "m", 3, "stable", 1.0, "key", float(number), 0.0, 0.001, "ok", rows,
        columns, {"label": list(range(rows))},
    )  # fmt: skip


def write(log: Path, numbers: range, **options: object) -> None:
    journal = Journal(log / "journal", "worker-1")
    for number in numbers:
        journal.append(payload(exchange(number, **options)))
    journal.close()


def test_one_row_a_prediction_in_time_order(tmp_path: Path) -> None:
    assert exchanges(tmp_path).num_rows == 0
    write(tmp_path, range(10))
    write(tmp_path, range(10, 12), endpoint="other")
    assert compact(tmp_path).exchanges == 24
    table = exchanges(tmp_path, endpoint="flights", since=2.0, until=4.0)
    assert table["prediction"].to_pylist() == ["e2.0", "e2.1", "e3.0", "e3.1"]
    assert json.loads(table["inputs"][1].as_py()) == {"X": [1.0, 1.0], "carrier": "UA"}
    assert json.loads(table["outputs"][1].as_py()) == {"label": 1}
    assert exchanges(tmp_path).num_rows == 24


def test_a_second_compaction_adds_only_what_is_new(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "worker-1")
    for number in range(5):
        journal.append(payload(exchange(number, rows=1)))
        compact(tmp_path)
    assert compact(tmp_path).exchanges == 0
    assert exchanges(tmp_path)["prediction"].to_pylist() == [f"e{number}.0" for number in range(5)]


def test_requests_that_could_not_be_decoded_are_rows_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", "worker-1")
    journal.append(payload(Exchange("e", "f", 1, "", 0, "", 0.0, "e", 1.0, 1.0, 0.0, "input.invalid", 0, {}, {})))
    compact(tmp_path)
    assert exchanges(tmp_path)["code"].to_pylist() == ["input.invalid"]


def test_outcomes_as_of_a_time(tmp_path: Path) -> None:
    log = OutcomeLog(tmp_path / "outcomes")
    log.append([Outcome(prediction=f"e{i}.0", value=bool(i % 2), at=1.0, received_at=float(i)) for i in range(1, 6)])
    write(tmp_path, range(6))
    compact(tmp_path)
    assert outcomes(tmp_path, as_of=3.0)["value"].to_pylist() == ["true", "false", "true"]
    with views(tmp_path) as connection:
        (joined,) = connection.execute("SELECT count(*) FROM exchanges JOIN outcomes USING (prediction)").fetchone()
    assert joined == 5


def test_killed_anywhere_it_is_exactly_once(tmp_path: Path) -> None:
    """Compactions are killed at random points while a writer goes on; in the end each frame is one row."""
    code = (
        "import sys; from pathlib import Path; from penstock.log.tables import compact\n"
        "while True: compact(Path(sys.argv[1]))"
    )
    journal = Journal(tmp_path / "journal", "worker-1", segment_bytes=4000)
    written = 0
    for round_ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
        end = time.monotonic() + 1.2 + 0.17 * round_
        while time.monotonic() < end:
            journal.append(payload(exchange(written, rows=1)))
            written += 1
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    compact(tmp_path)
    ids = exchanges(tmp_path)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == written


def test_damage_is_named_and_the_rest_compacted(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    (path,) = (tmp_path / "journal").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    Journal(tmp_path / "journal", "worker-2").append(payload(exchange(7, rows=1)))
    done = compact(tmp_path)
    assert list(done.damaged) == [path.name]
    assert done.exchanges == 1


def test_prune_keeps_what_is_not_in_the_tables(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    assert prune(tmp_path, keep_s=0.0) == []
    compact(tmp_path)
    assert len(prune(tmp_path, keep_s=0.0)) == 1
    assert exchanges(tmp_path).num_rows == 6


def test_each_prediction_is_found_by_its_id(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    compact(tmp_path)
    with views(tmp_path) as connection:
        for prediction in ("e0.0", "e1.1", "e2.0"):
            found = connection.execute("SELECT row FROM exchanges WHERE prediction = ?", [prediction]).fetchall()
            assert found == [(int(prediction[-1]),)]


def test_parts_of_a_journal_add_up_to_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.log.tables.READ_BYTES", 400)
    monkeypatch.setattr("penstock.log.tables.GROUP_ROWS", 5)
    journal = Journal(tmp_path / "journal", "worker-1")
    for number in range(12):
        # Every fourth is larger than what is read at once, and every one is of another day.
        journal.append(payload(exchange(number * 86_400, rows=40 if number % 4 == 3 else 2)))
    journal.close()
    assert compact(tmp_path).exchanges == 9 * 2 + 3 * 40
    assert compact(tmp_path).exchanges == 0
    found = exchanges(tmp_path)
    wanted = [f"e{number * 86_400}.{row}" for number in range(12) for row in range(40 if number % 4 == 3 else 2)]
    assert sorted(found["prediction"].to_pylist()) == sorted(wanted)
    assert len(set(found["day"].to_pylist())) == 12


def test_what_lies_before_damage_is_kept_and_not_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.log.tables.READ_BYTES", 400)
    write(tmp_path, range(10))
    (path,) = (tmp_path / "journal").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    first, second = compact(tmp_path), compact(tmp_path)
    assert list(first.damaged) == list(second.damaged) == [path.name]
    assert 0 < first.exchanges < 20
    assert second.exchanges == 0
    assert exchanges(tmp_path).num_rows == first.exchanges
