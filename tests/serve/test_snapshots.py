from __future__ import annotations

from pathlib import Path

from penstock.records import Grant, Snapshot, encode
from penstock.serve.snapshots import APPLIED, FILE, SnapshotFile, write_whole


def test_each_file_is_seen_once(tmp_path: Path) -> None:
    followed = SnapshotFile(tmp_path)
    assert followed.changed() is None
    for number in (1, 2, 7):
        write_whole(tmp_path / FILE, encode(Snapshot(number=number)))
        seen = followed.changed()
        assert seen is not None
        assert seen.number == number
        assert followed.changed() is None


def test_half_a_file_is_not_taken(tmp_path: Path) -> None:
    followed = SnapshotFile(tmp_path)
    whole = encode(Snapshot(number=3))
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    assert followed.changed() is None
    (tmp_path / FILE).write_bytes(whole)
    assert followed.changed() == Snapshot(number=3)


def test_what_was_applied_is_kept_without_its_grants(tmp_path: Path) -> None:
    followed = SnapshotFile(tmp_path)
    assert followed.applied() is None
    grant = Grant(token_sha256="0" * 64, subject="ann", permissions=("predict",))
    followed.keep(Snapshot(number=5, grants=(grant,)))
    followed.keep(Snapshot(number=4))
    assert followed.applied() == Snapshot(number=5)
    assert "ann" not in (tmp_path / APPLIED).read_text()
    assert [path.name for path in tmp_path.iterdir()] == [APPLIED], "nothing temporary is left"
