"""Holds a packaged sentence encoder against the framework that it came from: ``python -m bench.encoder FOLDER PYTHON``.

PYTHON is an interpreter that has torch and transformers. Both get the same texts, ordinary and odd; ids and vectors
are compared, one text at a time.
"""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from penstock.build.folders import archive_folder
from penstock.runtime.encoder import open_encoder

REFERENCE = """
import json, sys, torch
from transformers import AutoModel, AutoTokenizer
folder = sys.argv[1]
most = json.load(open(folder + "/sentence_bert_config.json"))["max_seq_length"]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
found = []
with torch.no_grad():
    for text in json.load(sys.stdin):
        given = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        vector = torch.nn.functional.normalize(model(**given).last_hidden_state[0].mean(0), dim=0)
        found.append([len(given["input_ids"][0]), vector.tolist()])
print(json.dumps(found))
"""
ODD = [
    "", " ", "[SEP] and [MASK]", "don't stop—“quotes” 100% £5", "Ångström naïve CAFÉ İ ΣΊΣΥΦΟΣ ς", "水 東京タワー",
    "emoji 🌊 zero\u200bwidth \ufeff", "a\tb\nc\x00d\x07", "x" * 150, "word " * 400, "नमस्ते 한국어 مرحبا", "ﬁ ½ Ⅷ ẞ ſ K",
]  # fmt: skip
SIGNS = string.printable + "éàüñøÆ水火日あいアイ가나абв🌊«»„…·´\u00a0\u2003\u00ad\u0300\u0301"


def texts(vocabulary: list[str]) -> list[str]:
    chance = random.Random(1)
    signs = ["".join(chance.choices(SIGNS, k=chance.randint(1, 60))) for _ in range(150)]
    words = [" ".join(chance.choices(vocabulary, k=chance.randint(1, 40))) for _ in range(60)]
    return ODD + signs + words


def main(folder: Path, python: str) -> None:
    vocabulary = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    asked = texts([word for word in vocabulary if word.isalpha()])
    command = [python, "-c", REFERENCE, str(folder)]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout.splitlines()[-1])
    with tempfile.TemporaryDirectory() as scratch:
        archive_folder(folder, Path(scratch) / "encoder")
        encoder = open_encoder(Path(scratch) / "encoder")
    start = perf_counter()
    found = encoder.answer_arrays({"text": np.array(asked, object)})
    took = perf_counter() - start
    error = np.abs(found["prediction"] - np.array([vector for _, vector in expected])).max()
    other = sum(mine != theirs for mine, (theirs, _) in zip(found["tokens"].tolist(), expected, strict=True))
    print(
        f"{len(asked)} texts, {int(found['tokens'].sum())} tokens: {other} of another length, largest error {error:.1e}"
    )
    print(f"{1e3 * took / len(asked):.1f} ms a text, {1e6 * took / found['tokens'].sum():.0f} us a token")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
