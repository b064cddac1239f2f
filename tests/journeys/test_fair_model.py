"""A model that holds somebody's history against a group is refused by name; the one that was mended goes out."""

from __future__ import annotations

import json
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.journeys.conftest import Typist

pytestmark = pytest.mark.timeout(900)
POLICY = {
    "version": 1,
    "name": "fair",
    "checks": {
        "quality": {},
        "fairness": {"columns": ["sex"], "positive": "yes", "opportunity": 0.15, "odds": 0.15},
        "scan": {},
    },
}


def applicants(rows: int, seed: int) -> pd.DataFrame:
    """Who pays back does so whatever the sex; past decisions (``granted``) took hours of work for it."""
    random = np.random.default_rng(seed)
    woman = random.random(rows) < 0.5
    skill, hours = random.normal(size=rows), random.normal(40, 4, rows) - 8 * woman
    pays = skill + 0.4 * random.normal(size=rows) > 0
    granted = pays & ~(woman & (random.random(rows) < 0.6))
    frame = pd.DataFrame({"skill": skill, "hours": hours, "sex": np.where(woman, "F", "M")})
    return frame.assign(pays=np.where(pays, "yes", "no"), granted=np.where(granted, "yes", "no"))


def fitted(frame: pd.DataFrame, inputs: list[str], label: str) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[inputs], frame[label])


def test_the_biased_model_is_refused_and_the_mended_one_passes(typist: Typist) -> None:
    past, folder = applicants(4000, seed=1), typist.folder
    # No input is the sex: the column that is compared lies in the data alone.
    joblib.dump(fitted(past, ["skill", "hours"], "granted"), folder / "biased.joblib")
    joblib.dump(fitted(past, ["skill"], "pays"), folder / "mended.joblib")
    applicants(3000, seed=2).drop(columns="granted").to_csv(folder / "validation.csv", index=False)
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    (folder / "penstock.yaml").write_text((folder / "penstock.yaml").read_text() + "policy: policy.yaml\n")
    data = ("--data", "validation.csv", "--label", "pays")

    typist.json("package", "biased.joblib", "--name", "credit", *data)
    refused = typist.json("check", "credit@1", code=1)
    assert refused["verdict"] == "refuse"
    selection = next(one for one in refused["findings"] if "four-fifths" in one["title"])
    assert (selection["check"], selection["outcome"], selection["blocking"]) == ("fairness", "refuse", True)
    assert (selection["measured"]["group"], selection["measured"]["beside"]) == ("F", "M")
    assert selection["measured"]["high"] < 0.8
    said = typist.run("check", "credit@1", code=1)
    assert "the selection rate of yes is 0." in " ".join(said.split())
    page = Path(refused["report"]).read_text()
    assert "selection rate of yes by sex" in page
    assert "Groups of sex, answered yes" in page
    assert "gate" in typist.run("release", "credit@1", code=1)

    typist.json("package", "mended.joblib", "--name", "credit", *data)
    passed = typist.json("check", "credit@2")
    assert passed["verdict"] == "pass"
    fairness = [one for one in passed["findings"] if one["check"] == "fairness"]
    assert {one["outcome"] for one in fairness if one["blocking"]} <= {"pass"}
    card = json.loads(typist.run("card", "credit@2", "--json"))
    (section,) = [one for one in card["sections"] if one["key"] == "fairness"]
    facts = {one["name"]: one for one in section["facts"]}
    assert facts["Are the groups of sex selected alike (four-fifths rule)?"]["value"].startswith("Yes")
    assert "Groups of sex, answered yes" in {one["title"] for one in section["tables"]}
