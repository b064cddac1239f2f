"""A sentence encoder, from its folder past the gate to a client: packaged, checked without a label, released, asked."""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from tests.journeys.conftest import Typist

FOLDER = Path(__file__).parents[1] / "golden" / "encoder"
WORDS = ("river", "water", "gate", "cafe", "naive")

pytestmark = pytest.mark.timeout(900)


def test_an_encoder_is_released_past_the_gate(typist: Typist) -> None:
    shutil.copytree(FOLDER, typist.folder / "encoder")
    texts = [f"the {one} {other}{end}" for one in WORDS for other in WORDS for end in (".", "!", "")]
    pd.DataFrame({"text": texts}).to_csv(typist.folder / "texts.csv", index=False)
    packaged = typist.json("package", "encoder", "--name", "encoder", "--data", "texts.csv")
    assert packaged["engine"] == "onnxruntime"

    checked = typist.json("check", "encoder@1")
    assert checked["verdict"] == "pass", [one for one in checked["findings"] if one["blocking"]]
    titles = {one["title"]: one for one in checked["findings"]}
    assert titles["Do its vectors tell more than guessing?"]["outcome"] == "unknown"
    assert titles["Do other spaces leave a vector alone?"]["outcome"] == "pass"

    released = typist.json("release", "encoder@1")
    assert released["phase"] == "live"
    known = json.loads((FOLDER / "expected.json").read_text())[0]
    place = urlsplit(released["url"])
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.request("POST", "/v1/embeddings", json.dumps({"model": "encoder", "input": known["text"]}))
    vector = json.loads(connection.getresponse().read())["data"][0]["embedding"]
    connection.close()
    np.testing.assert_allclose(vector, known["vector"], atol=1e-5)
