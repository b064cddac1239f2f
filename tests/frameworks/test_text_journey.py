"""A text classifier as transformers saved it, past the gate to a client: packaged, judged, refused, released, asked."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import torch
from tests.frameworks.hub_for_tests import LABELS, named, write_bert
from tests.journeys.conftest import SETTINGS, Typist
from transformers import AutoModelForSequenceClassification, AutoTokenizer

WORDS = ("river", "water", "gate", "rivers", "waterways", "cafe", "see", "what", "numbers", "signs")
ROWS = 400

pytestmark = pytest.mark.timeout(900)


def texts() -> list[str]:
    random = np.random.default_rng(1)
    return [" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(ROWS)]


@pytest.fixture(scope="module")
def typist(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """A folder of transformers', and reviews in whose labels it is nearly always right."""
    typist = Typist(tmp_path_factory.mktemp("texts"))
    (typist.folder / "penstock.yaml").write_text(SETTINGS)
    folder = typist.folder / "classifier"
    folder.mkdir()
    write_bert(folder, **named())
    asked = texts()
    truth = settle(folder, asked)
    random = np.random.default_rng(2)
    said = np.where(random.random(ROWS) < 0.06, random.integers(0, 3, ROWS), truth)
    # A file as people have it: more than the text stands in it.
    frame = pd.DataFrame({"id": np.arange(ROWS), "text": asked, "desk": random.choice(["north", "south"], ROWS)})
    frame.assign(label=[LABELS[at] for at in said]).to_csv(typist.folder / "reviews.csv", index=False)
    frame.assign(label=random.permutation([LABELS[at] for at in said])).to_csv(
        typist.folder / "shuffled.csv", index=False
    )
    yield typist
    typist.run("down")


def settle(folder: Path, asked: list[str]) -> list[int]:
    """Weights of nobody's training say one class of everything: move them until each is said; what they say then."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(asked, truncation=True, max_length=48, padding=True)
    with torch.no_grad():
        given = {name: torch.tensor(values) for name, values in tokens.items()}
        model.classifier.weight.mul_(20)
        model.classifier.bias.zero_()
        model.classifier.bias.sub_(model(**given).logits.median(0).values)
        model.save_pretrained(folder)
        found: list[int] = model(**given).logits.argmax(1).tolist()
    assert min(found.count(at) for at in LABELS) > ROWS / 20
    return found


def test_texts_go_past_the_gate_to_a_client(typist: Typist) -> None:
    packaged = typist.json("package", "classifier", "--name", "flood", "--data", "reviews.csv")
    assert (packaged["kind"], packaged["engine"]) == ("huggingface", "onnxruntime")
    assert [one["name"] for one in packaged["inputs"]] == ["text"]
    policy = {
        "version": 1,
        "checks": {"quality": {"blocks": ["refuse"]}, "robustness": {}, "stability": {}, "scan": {}},
    }
    policy["checks"]["fairness"] = {"columns": ["desk"], "blocks": ["refuse"]}
    (typist.folder / "policy.yaml").write_text(json.dumps(policy))  # JSON is YAML
    (typist.folder / "penstock.yaml").write_text(SETTINGS + "policy: policy.yaml\n")

    # The truth may be named where it is asked for; packaging did not hear of it.
    checked = typist.json("check", "flood@1", "--label", "label")
    assert checked["verdict"] == "pass", [one for one in checked["findings"] if one["outcome"] != "pass"]
    titles = {one["title"]: one for one in checked["findings"]}
    assert titles["Is it better than guessing?"]["outcome"] == "pass"
    assert "Does a little noise leave its answers alone?" not in titles  # there is no number in a text
    assert titles["Do other spaces leave its answers alone?"]["measured"]["moved"] == 0
    assert titles["Does a slip of the pen leave its answers alone?"]["measured"]["moved"] > 0
    assert titles["Does it stay valid on text of every odd kind?"]["outcome"] == "pass"
    assert any("groups of desk" in title for title in titles)

    released = typist.json("release", "flood@1")
    assert released["phase"] == "live"
    rows = pd.read_csv(typist.folder / "reviews.csv").head(40)
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [40], "data": rows["text"].tolist()}]}
    place = urlsplit(released["url"])
    request = urllib.request.Request(f"http://{place.netloc}/v2/models/flood/infer", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        outputs = {one["name"]: one["data"] for one in json.loads(answer.read())["outputs"]}
    assert np.mean(np.array(outputs["label"]) == rows["label"].to_numpy()) > 0.8

    # Where its labels have nothing to do with the texts it is not better than guessing, and the verdict says so.
    lost = json.loads((typist.folder / "policy.yaml").read_text())
    lost["checks"] = {"quality": {}}
    (typist.folder / "strict.yaml").write_text(json.dumps(lost))
    words = ("--label", "label", "--data", "shuffled.csv", "--policy", "strict.yaml")
    unproven = typist.json("check", "flood@1", *words, code=3)
    guessing = next(one for one in unproven["findings"] if one["title"] == "Is it better than guessing?")
    assert (guessing["outcome"], guessing["blocking"]) == ("unknown", True)
