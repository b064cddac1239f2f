"""Each compressed form answers the policy's questions of fairness: one that harms a group is none of a fair model."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from penstock.app.app import App
from penstock.app.compressing import CompressRequest, compress
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package

# Quality and likeness look away, so that fairness alone can see the harm.
POLICY = {
    "version": 1,
    "checks": {
        "quality": {"margin": 1.0},
        "fairness": {"columns": ["sex"], "opportunity": 0.2, "odds": 0.2},
        "scan": {},
    },
}
BLIND = {"flips": 1.0, "tolerance": 1e9, "seconds": 0.2}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """``fair@1`` and, as another model, ``unfair@1``: the same inputs, fitted to decisions that wronged women."""
    folder = tmp_path_factory.mktemp("forms")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
    (folder / "penstock.yaml").write_text("policy: policy.yaml\n")
    random = np.random.default_rng(0)
    woman = random.integers(2, size=4000)
    rows = pd.DataFrame({"skill": random.normal(size=4000), "zone": woman + 0.1 * random.normal(size=4000)})
    rows["pays"] = (rows["skill"] + 0.3 * random.normal(size=4000) > 0).astype(int)
    rows["sex"] = np.where(woman == 1, "F", "M")
    wronged = rows["pays"] * (1 - woman * (random.random(4000) < 0.7))
    opened = open_app(folder / ".penstock")
    for name, label in (("fair", rows["pays"]), ("unfair", wronged)):
        joblib.dump(LogisticRegression().fit(rows[["skill", "zone"]], label), folder / f"{name}.joblib")
        tables = {"validation": rows}
        package(opened, PackageRequest(name=name, model=folder / f"{name}.joblib", tables=tables, label="pays"))
    return opened


def graph_of_version(app: App, ref: str, folder: Path) -> str:
    place = folder / "form.onnx"
    place.write_bytes(app.open_package(app.resolve(ref).version.digest).entry.read_bytes())
    return str(place)


def test_a_form_that_harms_one_group_is_refused_by_fairness(app: App, tmp_path: Path) -> None:
    graph = graph_of_version(app, "unfair@1", tmp_path)
    found = compress(app, "fair@1", CompressRequest(graphs=(graph,), **BLIND))
    (tried,) = found.tried
    assert tried.outcome == "refuse"
    assert tried.reason.startswith("fairness: No: the selection rate of 1 is 0.")
    assert " for F and 0." in tried.reason
    assert {one.check for one in tried.findings if one.blocking and one.outcome == "refuse"} == {"fairness"}
    assert found.version is None


def test_every_form_is_asked_and_a_fair_one_passes(app: App, tmp_path: Path) -> None:
    graph = graph_of_version(app, "fair@1", tmp_path)
    found = compress(
        app, "fair@1", CompressRequest(kinds=("graph_optimization",), graphs=(graph,), dry_run=True, **BLIND)
    )
    asked = [one for one in found.tried if one.findings]
    assert len(asked) == len([one for one in found.tried if "nothing to act on" not in one.reason]) >= 1
    for one in asked:
        assert one.outcome == "pass", one.reason
        fairness = [finding for finding in one.findings if finding.check == "fairness"]
        assert len(fairness) == 5
        assert {finding.outcome for finding in fairness if finding.blocking} <= {"pass"}
