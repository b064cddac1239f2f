"""ONNX graphs that packages of the index carry, beside ONNX Runtime: file types, and what reads texts in images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime

from bench.kinds.kind import Array, Brought, Kind
from bench.places import ROOT

CARRIED = ROOT / ".venv" / "carried"
OUTPUT = "prediction"


def carried(name: str) -> Path:
    """A file or folder of the packages that carry models.

    Raises:
        FileNotFoundError: They are not installed.
    """
    for place in CARRIED.glob(f"lib/python*/site-packages/{name}"):
        return place
    raise FileNotFoundError(f"{name} is missing: make .venv/carried/ready")


def _graph(name: str, rows: Callable[[np.random.Generator], Array], packaged: int) -> Callable[[Path], Brought]:
    """A graph of one input and one output; the first rows are for packaging."""

    def bring(folder: Path) -> Brought:
        del folder
        session = onnxruntime.InferenceSession(carried(name))
        given = session.get_inputs()[0].name
        all_rows = rows(np.random.default_rng(0))
        asked = {given: all_rows[packaged:]}
        answers = np.concatenate([session.run(None, {given: row[None]})[0] for row in asked[given]])
        return Brought(carried(name), all_rows[:packaged], asked, {OUTPUT: answers})

    return bring


def _files(random: np.random.Generator) -> Array:
    """Beginnings, middles and ends of files: bytes, and 256 where a file is shorter."""
    rows = random.integers(0, 256, (600, 2048))
    rows[::3, 400:] = 256
    rows[1::3] = np.frombuffer((b"import os\nprint(os.name)\n" * 82)[:2048], np.uint8)
    return rows.astype(np.int32)


def _images(count: int, height: int, width: int) -> Callable[[np.random.Generator], Array]:
    return lambda random: random.normal(size=(count, 3, height, width)).astype(np.float32)


def kinds() -> Iterator[Kind]:
    """All of them."""
    models = "rapidocr_onnxruntime/models"
    yield Kind("ONNX: file types (magika)", _graph("magika/models/standard_v3_3/model.onnx", _files, 100))
    turned = _graph(f"{models}/ch_ppocr_mobile_v2.0_cls_infer.onnx", _images(40, 48, 192), 8)
    yield Kind("ONNX: lines of text, upside down or not (RapidOCR)", turned)
    lines = _graph(f"{models}/ch_PP-OCRv4_rec_infer.onnx", _images(12, 48, 160), 4)
    yield Kind("ONNX: reads lines of text (RapidOCR)", lines)
    found = _graph(f"{models}/ch_PP-OCRv4_det_infer.onnx", _images(10, 96, 96), 4)
    yield Kind("ONNX: finds lines of text (RapidOCR)", found)
