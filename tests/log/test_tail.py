from __future__ import annotations

from pathlib import Path

from penstock.log.journal import Journal
from penstock.log.tail import Tail, payload, segments
from penstock.records import Outcome


def outcome(number: int) -> Outcome:
    return Outcome(prediction=f"a.{number}", value=number, at=float(number))


def test_reads_each_record_once(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "none yet", Outcome)
    assert tail.read() == []
    tail = Tail(tmp_path, Outcome)
    one, two = Journal(tmp_path, "worker-1"), Journal(tmp_path, "worker-2", segment_bytes=200)
    for number in range(50):
        (one if number % 3 else two).append(payload(outcome(number)))
        if number % 10 == 0:
            tail_seen = tail.read()
            assert len(tail_seen) == (1 if number == 0 else 10)
    rest = tail.read()
    assert len(rest) == 9
    assert tail.read() == []
    assert len(segments(tmp_path)) > 2


def test_goes_on_where_an_earlier_reader_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "worker-1")
    journal.append(payload(outcome(1)))
    first = Tail(tmp_path, Outcome)
    first.read()
    journal.append(payload(outcome(2)))
    assert Tail(tmp_path, Outcome, offsets=first.offsets).read() == [outcome(2)]


def test_names_a_damaged_segment_and_goes_on_with_the_others(tmp_path: Path) -> None:
    good, bad = Journal(tmp_path, "worker-1"), Journal(tmp_path, "worker-2")
    for journal in (good, bad):
        journal.append(payload(outcome(1)))
        journal.sync()
    (path,) = tmp_path.glob("worker-2*")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    tail = Tail(tmp_path, Outcome)
    assert tail.read() == [outcome(1)]
    assert list(tail.damaged) == [path.name]
    assert "damaged at byte 16" in tail.damaged[path.name]
