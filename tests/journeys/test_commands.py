"""Verbs that need a version: serve it alone, ask the gate with too little, approve it as somebody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from tests.journeys.conftest import Typist, customers, trained
from tests.journeys.load_for_tests import ROW, body_of, until

pytestmark = pytest.mark.timeout(900)


def ask(url: str, name: str) -> dict:
    """One prediction for `ROW`."""
    with urllib.request.urlopen(f"{url}/v2/models/{name}/infer", body_of(ROW), timeout=10) as answer:
        return json.load(answer)


def is_ready(url: str) -> bool:
    try:
        return urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("what", ["a version of the home", "a folder"])
def test_serve_answers_from_a_package_with_no_control_plane(passed: Typist, what: str) -> None:
    words = ["churn@1", "--home", str(passed.home)]
    if what == "a folder":
        manifests = (passed.home / "packages").glob("*/manifest.json")
        words = [str(next(manifests).parent), "--name", "mine", "--home", str(passed.folder / "nowhere")]
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "serve", *words, "--workers", "1"],
        cwd=passed.folder,
        stdout=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")},
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        until(lambda: is_ready(url))
        name = "churn" if what != "a folder" else "mine"
        answer = ask(url, name)
        assert answer["model_name"] == name
        if name == "churn":
            outputs = {one["name"]: one["data"] for one in answer["outputs"]}
            expected = trained(customers(2000)).predict_proba(pd.DataFrame([ROW]))[0]
            assert outputs["probabilities"] == pytest.approx(expected, abs=1e-5)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not (passed.home / "run" / "supervisor.json").exists()
    assert not (passed.home / "run" / "control.json").exists()
    assert not (passed.folder / "nowhere").exists()


def test_serve_refuses_an_address_others_reach(passed: Typist) -> None:
    assert "--behind proxy" in passed.run("serve", "churn@1", "--host", "0.0.0.0", code=1)


def test_a_check_with_too_few_rows_is_neither_yes_nor_no(passed: Typist) -> None:
    customers(12, seed=5).to_parquet(passed.folder / "few.parquet")
    verdict = passed.json("check", "churn@1", "--data", "few.parquet", code=3)
    assert verdict["verdict"] == "unknown"
    assert any(finding["outcome"] == "unknown" and finding["blocking"] for finding in verdict["findings"])


def test_who_packaged_does_not_approve_and_somebody_else_may(passed: Typist) -> None:
    own = passed.json("approve", "churn@1", "--as", "approver", code=1)
    assert own["error"].startswith("access.")
    rita = passed.json("token", "rita", "--role", "approver")["token"]
    said = passed.json("approve", "churn@1", "--as", "approver", "--comment", "read it", token=rita)
    assert (said["by"], said["version"], said["role"]) == ("rita", 1, "approver")
    assert passed.json("approve", "churn@1", "--as", "approver", token=rita, code=1)["error"].endswith("conflict")
    assert passed.json("release", "churn@1", token=rita, code=1)["error"].startswith("access.")
    assert not (passed.home / "run" / "control.json").exists(), "what is refused starts nothing"
    assert passed.json("verify")["ok"]


def test_a_dry_run_changes_nothing(passed: Typist) -> None:
    before = passed.json("verify")["events"]
    planned = passed.json("release", "churn@1", "--dry-run")
    assert planned["endpoint"] == "churn"
    again = ("package", "model.joblib", "--name", "other", "--data", "validation.parquet", "--label", "churned")
    assert passed.json(*again, "--dry-run")["dry_run"]
    assert passed.json("verify")["events"] == before
    assert not Path(passed.home / "run" / "control.json").exists()
