from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Corrupt
from penstock.log.journal import HEADER, LARGE_BYTES, Journal, frame, read_segment

PAYLOADS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20)


def segment_of(payloads: list[bytes]) -> bytes:
    return HEADER + b"".join(piece for payload in payloads for piece in frame(payload))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "worker-1")
    journal.append(b"one")
    journal.write([*frame(b"two"), *frame(b"three")])
    journal.close()
    (path,) = tmp_path.glob("worker-1-*.wal")
    payloads, offset = read_segment(path)
    assert payloads == [b"one", b"two", b"three"]
    assert offset == path.stat().st_size
    assert read_segment(path, offset) == ([], offset)


def test_what_is_large_is_written_beside_what_is_small(tmp_path: Path) -> None:
    payloads = [b"small", b"l" * LARGE_BYTES, b"again", b"L" * (2 * LARGE_BYTES)]
    journal = Journal(tmp_path, "worker-1")
    journal.write([piece for payload in payloads for piece in frame(payload)])
    journal.close()
    (path,) = tmp_path.glob("worker-1-*.wal")
    assert read_segment(path)[0] == payloads


def test_half_of_a_large_write_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "worker-1")
    journal.append(b"before")
    whole = os.write

    def full(descriptor: int, data: bytes) -> int:
        return whole(descriptor, data[: len(data) // 2]) if len(data) >= LARGE_BYTES else whole(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        journal.write([*frame(b"first"), *frame(b"l" * LARGE_BYTES)])
    monkeypatch.undo()
    journal.append(b"after")
    journal.close()
    (path,) = tmp_path.glob("worker-1-*.wal")
    assert read_segment(path)[0] == [b"before", b"after"]


@given(PAYLOADS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_left_alone(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data) -> None:
    path = tmp_path_factory.mktemp("wal") / "a-1-1.wal"
    whole = segment_of(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    read, offset = read_segment(path)
    assert read == payloads[: len(read)]
    assert offset <= cut
    # What comes later is read from there: nothing twice, nothing lost.
    path.write_bytes(whole)
    rest, end = read_segment(path, offset)
    assert read + rest == payloads
    assert end == len(whole)


@given(PAYLOADS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_never_passes(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data) -> None:
    path = tmp_path_factory.mktemp("wal") / "a-1-1.wal"
    whole = bytearray(segment_of(payloads))
    at = data.draw(st.integers(0, len(whole) - 1).filter(lambda i: not 12 <= i < 16))
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    try:
        read, offset = read_segment(path)
    except Corrupt:
        return
    # A length that grew past the end looks like a torn tail: then the frame and all after it are not delivered.
    assert read == payloads[: len(read)]
    assert len(read) < len(payloads)
    assert offset < len(whole)


def test_zeros_of_a_power_cut_are_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "a-1-1.wal"
    whole = segment_of([b"kept"])
    path.write_bytes(whole + bytes(4096))
    assert read_segment(path) == ([b"kept"], len(whole))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-1-1.wal"
    path.write_bytes(HEADER[:8] + b"\x63\0\0\0\0\0\0\0")
    with pytest.raises(Corrupt, match="format 99"):
        read_segment(path)


def test_segments_follow_each_other_by_size(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "worker-1", segment_bytes=100)
    for number in range(10):
        journal.append(b"%d" % number * 40)
    journal.close()
    found = [payload for path in sorted(tmp_path.iterdir()) for payload in read_segment(path)[0]]
    assert found == [b"%d" % number * 40 for number in range(10)]
    assert len(list(tmp_path.iterdir())) > 3


def test_writers_of_one_prefix_in_one_millisecond_write_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    for payload in (b"one", b"two", b"three"):
        journal = Journal(tmp_path, "worker-1")
        journal.append(payload)
        journal.close()
    assert [read_segment(path)[0] for path in sorted(tmp_path.iterdir())] == [[b"one"], [b"two"], [b"three"]]


def test_a_killed_writer_leaves_whole_frames(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from penstock.log.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), 'w')\n"
        "for i in range(1000): journal.append(b'%d' % i * 50)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    (path,) = tmp_path.iterdir()
    assert len(read_segment(path)[0]) == 1000, "what was written is in the file, synced or not"


def test_a_full_disk_is_an_error_and_the_segment_stays_whole(tmp_path: Path) -> None:
    """A file-size limit stands for a full disk: the write stops in the middle of a frame."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from penstock.log.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "journal = Journal(Path(sys.argv[1]), 'w')\n"
        "journal.append(b'before')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "try: journal.append(b'x' * 200)\n"
        "except OSError: print('refused')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "journal.append(b'after')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr
    (path,) = tmp_path.iterdir()
    assert read_segment(path)[0] == [b"before", b"after"]


@pytest.mark.parametrize("most", [1, 7, 16, 40, 4096])
def test_read_in_parts_it_is_the_same(tmp_path: Path, most: int) -> None:
    journal = Journal(tmp_path, "worker-1")
    written = [bytes([number]) * (1 + number * number % 97) for number in range(40)]
    journal.write([piece for payload in written for piece in frame(payload)])
    journal.close()
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b"".join(frame(b"torn"))[:-1])
    found: list[bytes] = []
    at = 0
    while (part := read_segment(path, at, most))[1] > at:
        found += part[0]
        at = part[1]
    assert found == written
    assert (found, at) == read_segment(path)
