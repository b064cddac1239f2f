"""The verdict is what the blocking findings add up to, and a check that falls over never lets anything pass."""

from __future__ import annotations

from pathlib import Path

import gate_candidates as make
import msgspec
import numpy as np
import pytest

from penstock.errors import ModelFailed
from penstock.gate.check import Candidate
from penstock.gate.policy import parse_policy, starter
from penstock.gate.run import outcome_of, run
from penstock.records import Finding, Verdict, decode, encode

PATIENT = {"p50_s": 10.0, "p99_s": 60.0, "rows_per_s": 1.0, "budget_s": 60.0, "runs": 60}


def finding(outcome: str, *, blocking: bool = True) -> Finding:
    return Finding(check="c", title="t?", outcome=outcome, message="m", blocking=blocking)


@pytest.mark.parametrize(
    ("findings", "outcome"),
    [
        ([], "unknown"),
        ([finding("pass")], "pass"),
        ([finding("pass"), finding("unknown"), finding("refuse")], "refuse"),
        ([finding("pass"), finding("unknown")], "unknown"),
        ([finding("pass"), finding("unknown", blocking=False), finding("refuse", blocking=False)], "pass"),
    ],
)
def test_blocking_findings_decide(findings: list[Finding], outcome: str) -> None:
    assert outcome_of(findings) == outcome


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """One validation file, no time, no train file, no champion: what a person has on day one."""
    train, validation = make.by_day(make.baskets(3000))
    answer = make.probabilities(make.logistic(train))
    return make.candidate(tmp_path_factory.mktemp("good"), {"validation": validation}, answer)


def test_the_starter_passes_one_validation_file_and_says_what_was_not_shown(good: Candidate) -> None:
    checks = {name: {} for name in starter().checks} | {"latency": PATIENT}
    steps: list[tuple[str, int, int]] = []
    verdict = run(good, parse_policy({"checks": checks}), version=3, progress=lambda *step: steps.append(step))
    assert verdict.outcome == "pass"
    assert (verdict.model, verdict.version, verdict.digest) == ("baskets", 3, good.package.digest)
    assert [one for one in verdict.findings if one.outcome == "unknown"], "no train file, no champion"
    assert steps == [(name, at, len(checks)) for at, name in enumerate(checks)]
    assert decode(encode(verdict), Verdict) == verdict


def test_missing_data_block_where_the_policy_says_so(good: Candidate) -> None:
    policy = parse_policy({"checks": {"generalization": {"missing": "block"}}})
    verdict = run(good, policy)
    assert verdict.outcome == "unknown"
    assert verdict.policy == policy.digest


def test_an_advisory_question_informs_and_never_blocks(good: Candidate) -> None:
    strict = {"quality": {"floors": {"auc": 0.99}}}
    assert run(good, parse_policy({"checks": strict})).outcome == "refuse"
    strict["quality"]["advisory"] = ["floor:auc", "calibration", "slices"]
    relaxed = run(good, parse_policy({"checks": strict}))
    assert relaxed.outcome == "pass"
    assert [one for one in relaxed.findings if one.outcome == "refuse"]


@pytest.mark.parametrize("error", [ValueError("boom"), ModelFailed("the model died")])
def test_a_check_that_raises_blocks(error: Exception, good: Candidate) -> None:
    class Dying(make.FunctionEngine):
        def run(self, inputs: object, *, timeout_s: float | None = None) -> object:
            raise error

    broken = Candidate(package=good.package, engine=Dying(lambda rows: rows), data=good.data)
    verdict = run(broken, parse_policy({"checks": {"quality": {}, "scan": {}}}))
    assert verdict.outcome == "unknown"
    failed = verdict.findings[0]
    assert (failed.check, failed.outcome, failed.blocking) == ("quality", "unknown", True)
    assert "boom" not in failed.message, "what a stranger's code raised stays in the log"
    assert {one.check for one in verdict.findings} == {"quality", "scan"}, "the other checks still run"


def test_equal_seeds_give_equal_findings(good: Candidate) -> None:
    names = ("quality", "generalization", "robustness", "stability", "scan")
    policy = parse_policy({"checks": {name: {} for name in names}, "seed": 5})
    again = Candidate(package=good.package, engine=good.engine, data=good.data, precision=policy.precision)
    assert run(again, policy).findings == run(again, policy).findings


def test_a_champion_is_compared_on_the_same_rows(good: Candidate, tmp_path: Path) -> None:
    worse = make.FunctionEngine(lambda rows: (good.engine.answer(rows) + (rows["price"] * 997.1) % 1) / 2)
    policy = parse_policy({"checks": {"quality": {}}})
    fields = {"data": good.data, "champion_name": "baskets@1"}
    better = run(Candidate(package=good.package, engine=good.engine, champion=worse, **fields), policy)
    assert (better.outcome, better.champion) == ("pass", "baskets@1")
    back = run(Candidate(package=good.package, engine=worse, champion=good.engine, **fields), policy)
    assert back.outcome == "refuse"
    assert "champion" in back.findings[1].title
    same = run(Candidate(package=good.package, engine=good.engine, champion=good.engine, **fields), policy)
    assert same.outcome == "pass"


def test_a_regression_has_its_own_figures(tmp_path: Path) -> None:
    frame = make.baskets(2000).assign(late=lambda rows: rows["weight"] * 3 + np.arange(2000) % 7)

    class Weigher(make.FunctionEngine):
        def run(self, inputs: dict[str, np.ndarray], *, timeout_s: float | None = None) -> dict[str, np.ndarray]:
            return {"prediction": np.nan_to_num(inputs["weight"].reshape(-1)) * 3 + 3}

    plain = make.candidate(tmp_path / "a", {"validation": frame}, lambda rows: rows)
    package = make.package(tmp_path / "b", task="regression", classes=())
    weigher = Candidate(package=package, engine=Weigher(lambda rows: rows), data=plain.data)
    names = ("quality", "robustness", "stability")
    verdict = run(weigher, parse_policy({"checks": {name: {} for name in names}}))
    assert verdict.outcome == "pass", [one.message for one in verdict.findings]
    assert "R²" in verdict.findings[0].message


def test_several_classes_have_their_own_figures(tmp_path: Path) -> None:
    frame = make.baskets(2000).assign(late=lambda rows: (rows["items"] - 1) // 7)

    class Counter(make.FunctionEngine):
        def run(self, inputs: dict[str, np.ndarray], *, timeout_s: float | None = None) -> dict[str, np.ndarray]:
            code = np.clip((inputs["items"].reshape(-1) - 1) // 7, 0, 2)
            code = np.where(np.nan_to_num(inputs["price"].reshape(-1)) > 80, (code + 1) % 3, code)
            return {"label": code, "probabilities": np.eye(3)[code] * 0.8 + 0.2 / 3}

    plain = make.candidate(tmp_path / "a", {"validation": frame}, lambda rows: rows)
    package = make.package(tmp_path / "b", classes=(0, 1, 2))
    counter = Candidate(package=package, engine=Counter(lambda rows: rows), data=plain.data)
    verdict = run(counter, parse_policy({"checks": {name: {} for name in ("quality", "robustness", "stability")}}))
    assert verdict.outcome == "pass", [one.message for one in verdict.findings]
    assert msgspec.to_builtins(verdict.findings[0].measured)["auc"] > 0.8
