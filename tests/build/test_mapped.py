"""Mapped numbers do not stay in memory while they are computed with, and are the same when they are read again."""

from __future__ import annotations

import sys
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import pytest

from penstock.build.folders import archive_folder
from penstock.build.formats.huggingface import HuggingFaceFormat
from penstock.build.graphs.mapped import let_go

BYTES = 32 << 20
ENCODER = Path(__file__).parents[1] / "golden" / "encoder"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is told by Linux")


def held(path: Path) -> int:
    """Bytes of a mapped file that are in this process's memory."""
    mapped, count = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            mapped = len(rest) > 4 and rest[4] == str(path)
        elif mapped and first == "Rss:":
            count += int(rest[0]) * 1024
    return count


def test_what_was_read_is_let_go_of_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = np.arange(BYTES // 8)
    for name in ("archive", "model.data", "other"):
        (tmp_path / name).write_bytes(numbers.tobytes())
    opened = {name: (tmp_path / name).open("rb") for name in ("archive", "model.data", "other")}
    arrays = {name: np.frombuffer(mmap(file.fileno(), 0, access=ACCESS_READ), int) for name, file in opened.items()}
    with let_go(tmp_path / "archive"):
        sums = {array.sum() for array in arrays.values()}
    assert held(tmp_path / "other") >= BYTES
    assert held(tmp_path / "archive") == held(tmp_path / "model.data") == 0
    assert sums == {numbers.sum()} == {array.sum() for array in arrays.values()}
    for file in opened.values():
        file.close()


def test_an_encoder_that_answers_holds_none_of_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive_folder(ENCODER, tmp_path / "archive")
    model = HuggingFaceFormat().open(tmp_path / "archive")
    inputs = model.inputs(None)
    rows = {"text": np.array([["the river"], ["water"]], object)}
    before = model.answer(inputs, rows)
    assert held(tmp_path / "archive") == 0
    for name, array in model.answer(inputs, rows).items():
        assert array.tobytes() == before[name].tobytes()
