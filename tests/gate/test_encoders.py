"""A sentence encoder before the gate: judged by what applies to vectors, with labels and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.gate.check import Candidate
from penstock.gate.checks.quality import QualityCheck, QualityLimits
from penstock.gate.checks.robustness import RobustnessCheck, RobustnessLimits
from penstock.gate.contents import content_of
from penstock.gate.data import Columns, gate_data
from penstock.gate.policy import Policy, parse_policy, starter
from penstock.gate.report import render
from penstock.gate.run import run
from penstock.packages.read import Package
from penstock.records import Finding
from penstock.runtime.engine import Engine, open_engine, prove
from penstock.tensors import Arrays

FOLDER = Path(__file__).parents[1] / "golden" / "encoder"
ABOUT = {"water": ["river", "water", "the river", "a waterway"], "food": ["cafe", "a cafe", "the cafe", "naive cafe"]}


def texts(rows: int = 240) -> pd.DataFrame:
    """Short texts of two topics, each of many forms."""
    random = np.random.default_rng(0)
    topics = random.choice(list(ABOUT), rows)
    ends = ["", ".", "!", " the", " a", ", a", " .", " !", ","]
    made = [f"{random.choice(ABOUT[one])}{random.choice(ends)}{random.choice(ends)}" for one in topics]
    return pd.DataFrame({"text": made, "topic": topics})


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    out = tmp_path_factory.mktemp("encoder")
    return build(FOLDER, BuildRequest(name="encoder", out=out, data=texts()[["text"]], lock=False))


@pytest.fixture(scope="module")
def engine(package: Package) -> Iterator[Engine]:
    engine = open_engine(package)
    prove(engine, package)
    yield engine
    engine.close()


class Changed:
    """The real encoder's vectors, changed on the way."""

    inline = False

    def __init__(self, engine: Engine, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._engine = engine
        self._change = change

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        outputs = self._engine.run(inputs)
        return outputs | {"prediction": self._change(inputs["text"].reshape(-1), outputs["prediction"].copy())}

    def close(self) -> None:
        """Nothing is held."""


def candidate(package: Package, engine: object, frame: pd.DataFrame, label: str = "", **more: object) -> Candidate:
    data = gate_data({"validation": frame}, package.manifest.signature, Columns(label=label))
    return Candidate(package=package, engine=engine, data=data, **more)


def by_title(findings: tuple[Finding, ...] | list[Finding], start: str) -> Finding:
    return next(one for one in findings if one.title.startswith(start))


def patient() -> Policy:
    """Time on a loaded machine is not what these tests ask about."""
    latency = {"p50_s": 10.0, "p99_s": 60.0, "rows_per_s": 1.0, "budget_s": 60.0, "runs": 60}
    return parse_policy({"checks": {name: {} for name in starter().checks} | {"latency": latency}})


def test_without_labels_it_passes_by_what_applies(package: Package, engine: Engine) -> None:
    verdict = run(candidate(package, engine, texts()[["text"]]), patient(), version=1)
    assert verdict.outcome == "pass", [one.message for one in verdict.findings if one.blocking]
    unsure = [one for one in verdict.findings if one.outcome == "unknown"]
    assert all(one.message.startswith(("Not shown", "There is no champion")) and not one.blocking for one in unsure)
    assert by_title(verdict.findings, "Do other spaces").outcome == "pass"
    assert by_title(verdict.findings, "Is a row's answer its own").outcome == "pass"
    assert by_title(verdict.findings, "Does code that came with it").message == "Yes: it carries no code."
    assert package.digest in render(verdict, package.manifest)


def test_a_policy_may_want_quality_to_be_shown(package: Package, engine: Engine) -> None:
    policy = parse_policy({"checks": {"quality": {"missing": "block"}}})
    assert run(candidate(package, engine, texts()[["text"]]), policy).outcome == "unknown"


def test_classes_are_told_by_the_nearest_mean(package: Package, engine: Engine) -> None:
    shown = candidate(package, engine, texts(), "topic", champion=engine, champion_name="encoder@1")
    findings = QualityCheck(QualityLimits()).check(shown)
    skill = by_title(findings, "Do its vectors tell more")
    assert skill.outcome == "pass", skill.message
    assert skill.measured["auc"] > 0.8
    assert by_title(findings, "Is it at least as good").outcome == "pass"


def test_a_champion_that_tells_more_is_not_given_up(package: Package, engine: Engine) -> None:
    random = np.random.default_rng(0)
    noise = Changed(engine, lambda _, vectors: random.normal(size=vectors.shape).astype(np.float32))
    findings = QualityCheck(QualityLimits()).check(candidate(package, noise, texts(), "topic", champion=engine))
    assert by_title(findings, "Do its vectors tell more").outcome != "pass"
    assert by_title(findings, "Is it at least as good").outcome == "refuse"


@pytest.mark.parametrize("label", ["alike", "likeness"])
def test_pairs_are_told_by_their_cosine(package: Package, engine: Engine, label: str) -> None:
    """Half of them are the same words with a mark behind them, the others are of any two rows."""
    frame = texts()
    random = np.random.default_rng(1)
    alike = random.random(len(frame)) < 0.5
    others = frame["text"].to_numpy()[random.permutation(len(frame))]
    frame = frame.assign(text_2=np.where(alike, frame["text"] + ".", others), alike=alike.astype(int))
    frame["likeness"] = 2 * frame["alike"] + random.random(len(frame))
    skill = by_title(QualityCheck(QualityLimits()).check(candidate(package, engine, frame, label)), "Do its vectors")
    assert skill.outcome == "pass", skill.message
    assert skill.measured["spearman"] > 0.3


def test_an_encoder_that_collapsed_is_refused(package: Package, engine: Engine) -> None:
    same = Changed(engine, lambda _, vectors: np.ones_like(vectors))
    verdict = run(candidate(package, same, texts()[["text"]]), patient())
    assert verdict.outcome == "refuse"
    assert by_title(verdict.findings, "Do different rows").outcome == "refuse"


def test_an_encoder_that_hangs_on_spaces_is_refused(package: Package, engine: Engine) -> None:
    def spaced(asked: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        vectors[[str(one).startswith(" ") for one in asked]] *= -1
        return vectors

    findings = RobustnessCheck(RobustnessLimits()).check(candidate(package, Changed(engine, spaced), texts()[["text"]]))
    assert by_title(findings, "Do other spaces").outcome == "refuse"
    assert by_title(findings, "Do other spaces").blocking


def test_an_encoder_that_answers_no_number_is_refused(package: Package, engine: Engine) -> None:
    def holes(asked: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        vectors[[len(str(one)) > 50_000 for one in asked]] = np.nan
        return vectors

    findings = RobustnessCheck(RobustnessLimits()).check(candidate(package, Changed(engine, holes), texts()[["text"]]))
    found = by_title(findings, "Does it stay valid on text")
    assert found.outcome == "refuse"
    assert "very long" in found.message or "without end" in found.message


def test_a_regression_without_labels_is_not_shown_and_the_policy_says_what_then(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3))
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(rows, rows.sum(axis=1))
    package = build(model, BuildRequest(name="sum", out=tmp_path, data=rows, lock=False))
    engine = open_engine(package)
    frame = pd.DataFrame(rows).rename(columns=str)
    unlabelled = candidate(package, engine, frame)
    verdict = run(unlabelled, patient())
    assert verdict.outcome == "unknown"
    assert [one.title for one in verdict.findings if one.blocking and one.outcome != "pass"] == [
        "Is it better than guessing?"
    ]
    checks = dict.fromkeys(starter().checks) | {"quality": {"advisory": ["labels"]}}
    checks["latency"] = {"p50_s": 10.0, "p99_s": 60.0, "rows_per_s": 1.0, "budget_s": 60.0, "runs": 60}
    assert run(unlabelled, parse_policy({"checks": checks})).outcome == "pass"
    engine.close()


def test_a_zip_of_weights_that_holds_a_program_carries_code(tmp_path: Path) -> None:
    import zipfile

    for names, code in ((["config.json", "model.safetensors"], False), (["model.safetensors", "setup.py"], True)):
        path = tmp_path / f"{code}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")
        assert content_of("a.zip", path).code is code
