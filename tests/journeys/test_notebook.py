"""The journey in a notebook's words, in a Python process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.conftest import SETTINGS, Typist

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
CELLS = """
import os

import joblib
import numpy as np
import penstock as ps
from tests.journeys.conftest import customers, trained

pipeline = trained(customers(2000))
held_out = customers(2000, seed=1)
X, y = held_out.drop(columns="churned"), held_out["churned"]

v = ps.package(pipeline, "churn", data=X, labels=y)
assert v.version.ref == "churn@1", v
gate = v.check()
assert gate and gate.raise_if_refused() is gate
assert "pass" in repr(gate) and gate.report.exists()
endpoint = v.release()

rows = X.head(40)
p = endpoint.predict(rows)
assert list(p.values) == list(pipeline.predict(rows))
np.testing.assert_allclose(p.outputs["probabilities"], pipeline.predict_proba(rows), atol=1e-5)
assert set(p.version) == {"1"} and len(set(p.ids)) == 40 and p.id == p.ids[0]
assert list(p.frame().columns)[:2] == ["prediction", "version"]
assert list(X.columns) == ["age", "income", "plan"], "the caller's frame is as it was"

endpoint.outcome(p.id, 1)
assert endpoint.drift().endpoint == "churn"

if os.environ.get("PENSTOCK_FULL"):
    shuffled = y.sample(frac=1, random_state=0).to_numpy()
    worse = ps.package(trained(customers(2000).assign(churned=shuffled)), "churn", data=X, labels=y)
    try:
        worse.check().raise_if_refused()
    except ps.PenstockError as error:
        assert error.code == "gate.refuse", error.code
    else:
        raise SystemExit("a worse model passed")

joblib.dump(trained(customers(6000, seed=3)), "better.joblib")
better = ps.package("better.joblib", "churn", data=held_out, labels="churned")
assert "compiled, equal on" in repr(better), better
held_out.rename(columns={"churned": "left"}).to_csv("elsewhere.csv", index=False)
better.check(data="elsewhere.csv", label="left").raise_if_refused()
better.release()
assert set(endpoint.predict(rows).version) == {better.version.ref[6:]}
endpoint.rollback(reason="a try")
again = ps.endpoint("churn").predict(rows)
assert set(again.version) == {"1"} and list(again.values) == list(p.values)
assert ps.model("churn@champion").version.version == 1
print("told:", p.id)
"""


def test_one_line_and_release(tmp_path: Path) -> None:
    (tmp_path / "penstock.yaml").write_text(SETTINGS)
    home = tmp_path / "home"
    typist = Typist(tmp_path)
    environment = os.environ | {"PENSTOCK_HOME": str(home), "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CELLS], cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        told = done.stdout.split("told: ")[1].strip()
        found = typist.json("trace", told, "--home", str(home))
        assert found["outcomes"][0]["value"] == 1
        assert typist.json("verify", "--home", str(home))["ok"]
    finally:
        typist.run("down", "--home", str(home))
