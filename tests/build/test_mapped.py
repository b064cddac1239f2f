"""Mapped numbers do not stay in memory while they are computed with, and are the same when they are read again."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import pytest

from mapped_for_tests import held
from penstock.build.folders import archive_folder
from penstock.build.formats.huggingface import WIDENED, HuggingFaceFormat
from penstock.build.graphs.mapped import Widened, let_go
from penstock.runtime.encoder import open_encoder
from penstock.runtime.safetensors import read_tensors, widened

BYTES = 32 << 20
ENCODER = Path(__file__).parents[1] / "golden" / "encoder"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is mapped is told by Linux")


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


def halved(folder: Path, kind: str) -> Path:
    """The encoder with its weights in half precision."""
    shutil.copytree(ENCODER, folder)
    parts, header, at = [], {}, 0
    for name, array in read_tensors((ENCODER / "model.safetensors").read_bytes()).items():
        half = array.astype("<f2") if kind == "F16" else (np.ascontiguousarray(array).view("<u4") >> 16).astype("<u2")
        parts.append(half.tobytes())
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + half.nbytes]}
        at += half.nbytes
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    archive_folder(folder, folder / "archive")
    return folder / "archive"


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_widened_into_a_file_and_answers_as_in_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = halved(tmp_path / "folder", kind)
    model = HuggingFaceFormat().open(archive)
    assert (tmp_path / WIDENED).stat().st_size > 0
    assert held(tmp_path / WIDENED) == 0
    rows = {"text": np.array([["the river"], ["water"]], object)}
    for name, array in model.answer(model.inputs(None), rows).items():
        assert array.tobytes() == open_encoder(archive).answer_arrays(rows)[name].tobytes()
    assert held(tmp_path / WIDENED) == 0


def test_what_no_file_has_room_for_is_widened_in_memory(tmp_path: Path) -> None:
    numbers = np.arange(1000, dtype="<f2")
    data = memoryview(numbers.tobytes())
    keep = Widened(tmp_path / "file", 4096)
    first, second = keep(data, "F16"), keep(data, "F16")
    assert first.tobytes() == second.tobytes() == widened(data, "F16").tobytes() == numbers.astype("f4").tobytes()
    assert not first.flags.owndata
    assert second.flags.owndata
    (tmp_path / "there").write_bytes(b"")
    assert Widened(tmp_path / "there", 4096)(data, "F16").flags.owndata
