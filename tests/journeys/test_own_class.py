"""A person's own class, from its source to answers in two dialects, as docs/own-models.md has it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.journeys.conftest import Typist, customers

SOURCE = """
import numpy as np
import pandas as pd


class Churn:
    classes_ = ["stays", "leaves"]

    def predict(self, rows: pd.DataFrame):
        return np.array(self.classes_)[(self.predict_proba(rows)[:, 1] > 0.5).astype(int)]

    def predict_proba(self, rows):
        leaves = 1 / (1 + np.exp((rows["age"] - 40) / 10))
        return np.stack([1 - leaves, leaves], axis=1)
"""

pytestmark = pytest.mark.timeout(900)


def told(url: str, body: object) -> dict:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def test_a_class_is_packaged_judged_released_and_asked(typist: Typist) -> None:
    (typist.folder / "my_model.py").write_text(SOURCE)
    rows = customers(600, seed=1)
    rows["churned"] = np.where(rows["age"] + np.random.default_rng(0).normal(0, 8, 600) < 40, "leaves", "stays")
    rows[["age", "churned"]].to_csv(typist.folder / "rows.csv", index=False)
    packaged = typist.json("package", "my_model.py:Churn", "--name", "own", "--data", "rows.csv", "--label", "churned")
    assert packaged["engine"] == "python"

    checked = typist.json("check", "own@1")
    assert checked["verdict"] == "pass"
    code = [one for one in checked["findings"] if "penstock_entry.py carries code and runs in" in one["message"]]
    assert len(code) == 1, "the gate has to see that code answers"
    assert Path(checked["report"]).is_file()

    released = typist.json("release", "own@1")
    url = released["url"]
    tensor = {"name": "age", "datatype": "INT64", "shape": [2], "data": [20, 60]}
    v2 = told(f"{url}/v2/models/own/infer", {"inputs": [tensor]})
    outputs = {one["name"]: one["data"] for one in v2["outputs"]}
    assert outputs["label"] == ["leaves", "stays"]
    assert outputs["probabilities"][1::2] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))])
    mlflow = told(f"{url}/invocations", {"dataframe_split": {"columns": ["age"], "data": [[20], [60]]}})
    assert [one["label"] for one in mlflow["predictions"]] == ["leaves", "stays"]
