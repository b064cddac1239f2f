"""Answers that no truth is known for: what can be asked is asked, the rest is not shown, and nothing passes by it."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import numpy as np
import pandas as pd
import pytest

from archives_for_tests import CLASS, archive
from penstock.app.app import App
from penstock.app.checking import CheckRequest, check, report
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.errors import BadConfig
from penstock.gate.check import Candidate
from penstock.gate.data import Columns, gate_data
from penstock.gate.policy import parse_policy, starter
from penstock.gate.run import run
from penstock.records import Finding, Verdict
from penstock.tensors import Arrays, Signature, TensorSpec

ODD = "Does it go on answering after bodies of odd kinds?"
KEEPING = """
kept = []
def handle(data, context):
    if data is None:
        return None
    kept.extend(one["body"] for one in data)
    return [{"sum": sum(len(str(one)) for one in kept)} for _ in data]
"""
BREAKING = """
def handle(data, context):
    if data is None:
        return None
    for one in data:
        if isinstance(one["body"], list) and None in one["body"]:
            globals()["broken"] = True
        if "broken" in globals():
            raise RuntimeError("broken")
    return ["fine" for _ in data]
"""

DYING = BREAKING.replace('raise RuntimeError("broken")', '__import__("os")._exit(3)')


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    """Archives, registered: one does what it should, one remembers, one breaks for good, one ends its process."""
    folder = tmp_path_factory.mktemp("archives")
    opened = open_app(folder / ".penstock")
    weights = {"weights.txt": "2.5"}
    for name, source in (("totals", CLASS), ("keeping", KEEPING), ("breaking", BREAKING), ("dying", DYING)):
        file = archive(folder / f"{name}.mar", source, name=name, files=weights)
        package(opened, PackageRequest(name=name, model=Path(f"mar:{file}"), tables={}, label=""))
    rows = pd.DataFrame({"body": [f"data:application/json,[{at}, 1]" for at in range(8)]})
    rows.to_csv(folder / "bodies.csv", index=False)
    (folder / "trusting.yaml").write_text(
        "version: 1\nchecks: {quality: {advisory: [labels]}, latency: {}, scan: {}}\n"
    )
    return opened


def asked(app: App, name: str, *, bodies: bool, policy: str = "") -> Verdict:
    folder = app.home.parent
    tables = {"validation": folder / "bodies.csv"} if bodies else {}
    return check(app, f"{name}@1", CheckRequest(tables=tables, policy=folder / policy if policy else None))


def by_title(verdict: Verdict) -> dict[str, Finding]:
    return {one.title: one for one in verdict.findings}


def test_an_archive_without_bodies_is_scanned_and_has_shown_nothing_else(app: App) -> None:
    verdict = asked(app, "totals", bodies=False)
    assert verdict.outcome == "unknown"
    assert {one.check for one in verdict.findings if one.outcome == "pass"} == {"scan"}
    assert [one.title for one in verdict.findings if one.blocking and one.outcome != "pass"] == [
        "Is it better than guessing?"
    ]
    for one in verdict.findings:
        if one.outcome != "pass":
            assert one.message.startswith("Not shown:"), one.message
            assert one.remedy
    assert {one.check for one in verdict.findings} == set(starter().checks)
    assert b"its handler alone can read" in report(app, verdict)


def test_with_bodies_it_is_timed_repeated_and_asked_odd_things(app: App) -> None:
    found = by_title(asked(app, "totals", bodies=True))
    for title in (
        "Does it answer every validation row?",
        "Does it give the same answer twice?",
        "Is a row's answer its own, whatever comes with it?",
        ODD,
        "Is one row answered fast enough?",
    ):
        assert found[title].outcome == "pass", found[title].message
    assert found[ODD].measured["odd"] == 9
    assert found[ODD].measured["raised"] > 0
    assert found["Is it better than guessing?"].outcome == "unknown"


def test_what_a_handler_keeps_of_a_request_is_found(app: App) -> None:
    verdict = asked(app, "keeping", bodies=True)
    found = by_title(verdict)
    assert verdict.outcome == "refuse"
    for title in (ODD, "Does it give the same answer twice?", "Is a row's answer its own, whatever comes with it?"):
        assert found[title].outcome == "refuse", title


def test_a_handler_that_breaks_for_good_is_refused(app: App) -> None:
    found = by_title(asked(app, "breaking", bodies=True))[ODD]
    assert (found.outcome, found.blocking) == ("refuse", True)
    assert "answered otherwise, or not at all" in found.message


def test_one_that_ends_its_process_is_started_again(app: App) -> None:
    found = by_title(asked(app, "dying", bodies=True))[ODD]
    assert found.outcome == "pass"
    assert found.measured["raised"] >= 1


def test_a_policy_may_take_it_on_trust_and_nothing_else_may(app: App) -> None:
    assert asked(app, "totals", bodies=True, policy="trusting.yaml").outcome == "pass"
    (app.home.parent / "other.csv").write_text("text,more\na,1\n")
    with pytest.raises(BadConfig, match="no column body"):
        check(app, "totals@1", CheckRequest(tables={"validation": app.home.parent / "other.csv"}))


# -- tensors under names of their own ---------------------------------------------------------------


class Doubled:
    """Two outputs, of which the gate knows neither."""

    inline = True

    def __init__(self, spoil: float = 0.0) -> None:
        self.spoil = spoil

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        x = inputs["x"].astype(float)
        masks = np.repeat(x[:, :, None], 4, axis=2) + self.spoil
        return {"boxes": 2 * x, "masks": masks}

    def close(self) -> None:
        """Nothing is held."""


def boxes(folder: Path, engine: Doubled, rows: int = 200) -> Candidate:
    signature = Signature(
        inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 3)),),
        outputs=(
            TensorSpec(name="boxes", datatype="FP64", shape=(-1, 3)),
            TensorSpec(name="masks", datatype="FP64", shape=(-1, 3, 4)),
        ),
    )
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, 3)), columns=list("abc")).assign(truth=0)
    return Candidate(
        package=make.package(folder, signature=signature, task="regression", classes=()),
        engine=engine,
        data=gate_data({"validation": frame}, signature, Columns(label="truth")),
    )


def test_tensors_without_a_truth_are_asked_what_can_be_asked(tmp_path: Path) -> None:
    quick = {"latency": {"budget_s": 0.5, "runs": 60}, "stability": {}, "robustness": {}, "quality": {}, "scan": {}}
    verdict = run(boxes(tmp_path, Doubled()), parse_policy({"checks": quick}))
    found = by_title(verdict)
    assert verdict.outcome == "unknown"
    assert [one.title for one in verdict.findings if one.blocking and one.outcome != "pass"] == [
        "Is it better than guessing?"
    ]
    assert "(boxes, masks)" in found["Is it better than guessing?"].message
    assert found["Does it stay valid under a little noise?"].outcome == "pass"
    assert found["Is a row's answer its own, whatever comes with it?"].outcome == "pass"


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    verdict = run(boxes(tmp_path, Doubled(spoil=float("nan"))), parse_policy({"checks": {"quality": {}}}))
    assert verdict.outcome == "refuse"
    assert verdict.findings[0].message == "No: 200 of 200 masks are not finite."
