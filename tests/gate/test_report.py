"""The report stands alone, leads with the verdict, and lets no name become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import gate_candidates as make
import msgspec
import pytest

from penstock.gate.check import Candidate
from penstock.gate.data import Columns
from penstock.gate.policy import parse_policy, starter
from penstock.gate.report import figure, reason, render
from penstock.gate.run import run
from penstock.records import Dataset, Finding, Parity, Verdict, decode, encode

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed and was not open, remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, Candidate]:
    """The leaky holdout before every check, with a champion."""
    train, validation = make.by_row(make.baskets(3000))
    answer = make.probabilities(make.logistic(train))
    candidate = make.candidate(
        tmp_path_factory.mktemp("judged"),
        {"train": train, "validation": validation},
        answer,
        columns=Columns(label="late", time="day"),
        champion=make.FunctionEngine(lambda rows: (answer(rows) + 0.5) / 2),
        champion_name="baskets@1",
    )
    checks = {name: {} for name in starter().checks} | {"latency": {"runs": 60}}
    verdict = run(candidate, parse_policy({"checks": checks}), version=2, at=1_790_000_000.0)
    dataset = Dataset(name="baskets", digest="sha256:" + "ab" * 32, rows=len(validation), columns={"weight": "FP64"})
    return msgspec.structs.replace(verdict, datasets=(dataset,), seconds=1.0), candidate


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_stands_alone_and_says_the_verdict_first(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    page = render(verdict, candidate.package.manifest)
    assert parsed(page).seen.isdisjoint({"script", "link", "img", "iframe", "object"})
    assert not re.search(r"(src|href)=\"(?!#)", page), "nothing is fetched from elsewhere"
    body = page[page.index("<body>") :]
    assert body.index("may not go out") < body.index("What stands in the way") < body.index("Every question")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert len(page) < 200_000


def test_every_finding_is_there_with_its_figures_and_plots(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    page = render(verdict, candidate.package.manifest)
    assert page.count("<article") == len(verdict.findings)
    for finding in verdict.findings:
        assert finding.title.replace("'", "&#39;") in page
    for title in ("ROC", "Reliability", "AUC by day", "AUC on the same rows", "AUC by slice"):
        assert title in page
    assert verdict.datasets[0].digest in page
    assert verdict.digest in page
    assert "baskets@1" in page
    for drawing in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing.lower()


def test_equal_verdicts_give_equal_pages_and_travel_as_json(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    again = decode(encode(verdict), Verdict)
    assert again == verdict
    assert render(again, candidate.package.manifest) == render(verdict, candidate.package.manifest)


def test_no_name_becomes_markup(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    nasty = "<script>alert(1)</script>\"'"
    text = encode(verdict).decode().replace("shop = ", f"shop{nasty} = ".replace('"', '\\"'))
    findings = decode(text, Verdict).findings
    hostile = msgspec.structs.replace(verdict, model=nasty, champion=nasty, findings=findings)
    page = render(hostile, msgspec.structs.replace(candidate.package.manifest, name=nasty, source={nasty: nasty}))
    assert "<script" not in page
    assert parsed(page)


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ((("pass", True),), "All 1 questions"),
        ((("pass", True), ("refuse", False)), "besides one that does not block"),
        ((("unknown", True), ("refuse", True)), "refuse"),
        ((("pass", True), ("unknown", True)), "unknown"),
    ],
)
def test_the_reason_is_what_decided(findings: tuple[tuple[str, bool], ...], said: str) -> None:
    every = tuple(
        Finding(check="c", title=f"{outcome}?", outcome=outcome, message="m", blocking=blocking)
        for outcome, blocking in findings
    )
    verdict = Verdict(model="m", version=1, digest="d", outcome="pass", findings=every, policy="p")
    assert said in reason(verdict)


def test_parity_is_told(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    parity = Parity(rows=2000, threshold_rows=41, label_flips=0, max_error=3e-7, tolerance=1e-5, passed=True)
    page = render(verdict, msgspec.structs.replace(candidate.package.manifest, parity=parity))
    assert "0 of 2,000 labels differ" in page
    assert "41 of the rows lie next to a decision threshold" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (False, "no"), (27275, "27,275"), (0.123456, "0.1235"), ("ai.onnx", "ai.onnx")],
)
def test_figures_are_written_as_people_read_them(value: object, text: str) -> None:
    assert figure(value) == text


def test_the_pages_template_is_part_of_the_package() -> None:
    assert (Path(__file__).parents[2] / "src/penstock/gate/templates/report.html").is_file()


def test_names_of_figures_are_read_as_words(judged: tuple[Verdict, Candidate]) -> None:
    verdict, candidate = judged
    measured = {"operators": 25, "rows_per_s": 7, "median_s": 0.5, "max_difference": 1}
    finding = Finding(check="scan", title="Standard?", outcome="pass", message="Yes.", measured=measured)
    page = render(msgspec.structs.replace(verdict, findings=(finding,)), candidate.package.manifest)
    for words in ("operators", "rows per s", "median (s)", "max difference"):
        assert f"<dt>{words}</dt>" in page
