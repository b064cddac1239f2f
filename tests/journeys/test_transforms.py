"""A model with its declared steps, from a YAML file to answers to raw rows, in a graph and in the sandbox."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

import penstock as ps
from tests.journeys.conftest import Typist

pytestmark = pytest.mark.timeout(900)


def raw(rows: int, seed: int) -> pd.DataFrame:
    """Customers as a form has them: ages that cannot be, cities as somebody typed them, some of both missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(float),
            "income": rng.normal(50, 15, rows).round(2),
            "city": rng.choice(["Paris", " rome", "OSLO ", "oslo"], rows),
        }
    )
    pull = (frame["age"] - 50) / 12 + np.where(frame["city"].str.strip().str.lower() == "rome", 1.5, -0.5)
    frame["churned"] = (pull + rng.normal(0, 1, rows) > 0).astype(int)
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    frame.loc[rng.random(rows) < 0.05, "age"] = -4.0
    frame.loc[rng.random(rows) < 0.05, "city"] = None
    return frame


def prepared(frame: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """The same steps by pandas, as somebody had them in a notebook."""

    def ages(of: pd.DataFrame) -> pd.Series:
        return of["age"].where(of["age"].between(0, 120))

    middle = ages(train).median()
    filled, income = ages(train).fillna(middle), train["income"]
    city = frame["city"].str.strip().str.lower()
    return pd.DataFrame(
        {
            "age": (ages(frame).fillna(middle) - filled.mean()) / filled.std(ddof=0),
            "income": (frame["income"] - income.mean()) / income.std(ddof=0),
            **{f"city_{one}": (city == one).astype(float) for one in ("oslo", "paris", "rome")},
        }
    )


def steps(case: str) -> dict[str, object]:
    return {
        "version": 1,
        "preprocess": [
            {"clean": {"columns": ["age"], "low": 0, "high": 120}},
            {"clean": {"columns": ["city"], "trim": True, "case": case}},
            {"impute": {"columns": ["age"], "with": "median"}},
            {"encode": {"columns": ["city"], "as": "one-hot"}},
            {"scale": {"columns": ["age", "income"], "as": "standard"}},
        ],
        "postprocess": [
            {"calibrate": {"method": "sigmoid", "from": "test"}},
            {"threshold": {"class": "1", "at": 0.3}},
            {"labels": {"0": "stays", "1": "leaves"}},
            {"top": 2},
            {"answer": {"decision": "label", "risk": {"probability": "leaves"}, "probabilities": "probabilities"}},
        ],
    }


def told(url: str, body: object) -> dict:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def test_raw_rows_are_answered_by_the_graph_and_beside_the_model_alike(typist: Typist) -> None:
    parts = {"train": raw(900, 0), "validation": raw(600, 1), "test": raw(400, 2)}
    train = parts["train"]
    model = LogisticRegression(max_iter=500).fit(prepared(train, train), train["churned"])
    joblib.dump(model, typist.folder / "model.joblib")
    for part, frame in parts.items():
        frame.to_csv(typist.folder / f"{part}.csv", index=False)
    data = [word for part in parts for word in ("--data", f"{part}={part}.csv")]
    answers: dict[str, dict[str, list]] = {}
    rows = parts["validation"].drop(columns="churned").head(40)
    tensors = [
        {
            "name": "age",
            "datatype": "FP64",
            "shape": [40, 1],
            "data": rows["age"].astype(object).where(rows["age"].notna(), None).tolist(),
        },
        {"name": "income", "datatype": "FP64", "shape": [40, 1], "data": rows["income"].tolist()},
        {
            "name": "city",
            "datatype": "BYTES",
            "shape": [40, 1],
            "data": rows["city"].where(rows["city"].notna(), None).tolist(),
        },
    ]
    for name, case, engine in (("fused", "lower", "onnxruntime"), ("beside", "casefold", "python")):
        (typist.folder / f"{name}.yaml").write_text(yaml.safe_dump(steps(case), sort_keys=False))
        words = ("package", "model.joblib", "--name", name, *data, "--label", "churned", "--transforms", f"{name}.yaml")
        packaged = typist.json(*words)
        assert packaged["engine"] == engine
        if engine == "onnxruntime":
            assert packaged["parity"]["passed"]
            assert packaged["parity"]["threshold_rows"] > 0
        checked = typist.json("check", f"{name}@1", code=0)
        quality = [one for one in checked["findings"] if one["check"].startswith("quality")]
        assert "pass" in {one["outcome"] for one in quality}
        assert not any("calibrated on" in one["message"] for one in quality), "it was calibrated on the test part"
        card = json.dumps(typist.json("card", f"{name}@1"))
        assert all(words in card for words in ("clean", "train, 900 rows", "test, 400 rows"))
        url = typist.json("release", f"{name}@1")["url"]
        v2 = told(f"{url}/v2/models/{name}/infer", {"inputs": tensors})
        answers[name] = {one["name"]: one["data"] for one in v2["outputs"]}
        v1 = told(f"{url}/v1/models/{name}:predict", {"instances": [{"age": None, "income": 50.5, "city": " ROME "}]})
        assert v1["predictions"][0]["decision"] in ("stays", "leaves")
    assert list(answers["fused"]) == ["decision", "risk", "probabilities", "label"]
    assert answers["fused"]["decision"] == answers["beside"]["decision"] == answers["fused"]["label"]
    assert answers["fused"]["risk"] == pytest.approx(answers["beside"]["risk"], abs=1e-6)

    # What the model itself says of the rows that pandas prepared, before it was calibrated: the same order of rows.
    plain = model.predict_proba(prepared(rows, train))[:, 1]
    risk = np.array(answers["fused"]["risk"])
    assert np.array_equal(np.argsort(plain, kind="stable"), np.argsort(risk, kind="stable"))
    assert answers["fused"]["decision"] == np.where(np.rint(risk * 1e6) >= 300000, "leaves", "stays").tolist()


def test_in_a_notebook_the_gate_says_on_which_rows_it_was_calibrated(tmp_path: Path) -> None:
    frame = raw(600, 3)
    model = LogisticRegression(max_iter=500).fit(prepared(frame, frame), frame["churned"])
    declared = {"preprocess": steps("lower")["preprocess"], "postprocess": [{"calibrate": "isotonic"}]}
    rows, truth = frame.drop(columns="churned"), frame["churned"]
    packaged = ps.package(model, "churn", data=rows, labels=truth, transforms=declared, home=tmp_path / "home")
    told_ = [one.message for one in packaged.check().verdict.findings if one.title == "Do its probabilities come true?"]
    assert "on the rows that it was calibrated on" in told_[0]


def test_a_refusal_names_what_was_meant(typist: Typist) -> None:
    frame = raw(200, 0)
    model = LogisticRegression(max_iter=500).fit(prepared(frame, frame), frame["churned"])
    joblib.dump(model, typist.folder / "model.joblib")
    frame.to_csv(typist.folder / "rows.csv", index=False)
    words = ("package", "model.joblib", "--name", "x", "--data", "rows.csv", "--label", "churned", "--transforms")
    wrong = steps("lower")
    wrong["preprocess"][2] = {"impute": {"columns": ["aeg"], "with": "median"}}  # type: ignore[index]
    wrong["postprocess"] = [{"top": 2}]
    (typist.folder / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    said = typist.run(*words, "wrong.yaml", code=1)
    assert "no column aeg to impute" in said
    assert "did you mean age?" in said
    calibrated = {"postprocess": [{"calibrate": {"method": "sigmoid", "from": "test"}}]}
    (typist.folder / "untested.yaml").write_text(yaml.safe_dump(calibrated))
    assert "test=FILE" in typist.run(*words, "untested.yaml", code=1)
    assert not list(Path(typist.home / "packages").glob("*"))
