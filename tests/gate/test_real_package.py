"""A real model, packaged by the build, run by the runtime, read from files, before the starter policy."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import pytest

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.gate.check import Candidate
from penstock.gate.data import Columns, read_data
from penstock.gate.policy import parse_policy, starter
from penstock.gate.report import render
from penstock.gate.run import run
from penstock.runtime.engine import open_engine, prove


@pytest.mark.parametrize("split", ["by_day", "by_row"])
def test_it_passes_or_is_refused_for_its_holdout(split: str, tmp_path: Path) -> None:
    train, validation = getattr(make, split)(make.baskets(4000))
    model = make.logistic(train)
    files = {"train": tmp_path / "train.parquet", "validation": tmp_path / "validation.csv"}
    train.to_parquet(files["train"])
    validation.to_csv(files["validation"], index=False)
    shown = validation[[*make.FEATURES, "late"]]
    package = build(model, BuildRequest(name="baskets", out=tmp_path / "out", data=shown, labels="late", lock=False))
    engine = open_engine(package)
    prove(engine, package)
    data = read_data(files, package.manifest.signature, Columns(label="late", time="day"))
    # Time on a loaded machine is not what this test asks about.
    patient = {"p50_s": 10.0, "p99_s": 60.0, "rows_per_s": 1.0, "budget_s": 60.0, "runs": 60}
    policy = parse_policy({"checks": {name: {} for name in starter().checks} | {"latency": patient}})
    verdict = run(Candidate(package=package, engine=engine, data=data, precision=policy.precision), policy, version=1)
    engine.close()
    assert verdict.outcome == ("pass" if split == "by_day" else "refuse"), [
        one.message for one in verdict.findings if one.blocking
    ]
    assert [one.role for one in verdict.datasets] == ["train", "validation"]
    if split == "by_row":
        assert [one.check for one in verdict.findings if one.blocking] == ["generalization"]
    page = render(verdict, package.manifest)
    assert package.digest in page
    assert "The compiled graph answers as the original did" in page
