"""`penstock conformance` as it is typed: exit codes, reports that other programs read, words that say what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from small_server_for_tests import small_server

from penstock.conformance.case import LEVELS, all_cases
from penstock.conformance.junit import to_junit
from penstock.conformance.page import render_page
from penstock.conformance.suite import ConformanceReport


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "penstock", "conformance", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> ConformanceReport:
    """What is said of a server that leaves ids out."""
    folder = tmp_path_factory.mktemp("wrong")
    with small_server("id") as url:
        done = typed(folder, url, "--json", "--junit", "report.xml", "--report", "report.html", "--examples", "3")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    report = msgspec.json.decode(done.stdout, type=ConformanceReport)
    assert (folder / "report.xml").read_bytes() == to_junit(report, "required")
    assert (folder / "report.html").read_text() == render_page(report, "required")
    return report


def test_the_json_report_has_every_case(wrong: ConformanceReport) -> None:
    assert wrong.format == 1
    assert [one.id for one in wrong.results] == [case.id for case in all_cases()]
    assert wrong.cases == len(all_cases())
    assert (wrong.model, wrong.server["name"], wrong.examples) == ("twice", "small", 3)
    for one in wrong.of("deviates"):
        assert one.reason
        assert one.request.startswith("curl ")
        assert one.source
    assert all(one.reason for one in wrong.of("skipped"))


def test_the_junit_report_is_as_red_as_the_exit_code(wrong: ConformanceReport) -> None:
    for fail_at, red in (("required", True), ("extension", True)):
        root = ElementTree.fromstring(to_junit(wrong, fail_at))
        suites = root.findall("testsuite")
        assert [suite.get("name") for suite in suites] == list(LEVELS)
        for suite in suites:
            cases = suite.findall("testcase")
            assert int(suite.get("tests")) == len(cases)
            assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
            assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
        assert (len(root.findall("testsuite/testcase/failure")) > 0) == red
    failure = root.find("testsuite/testcase[@name='infer.id']/failure")
    assert "the id is missing" in failure.get("message")
    assert "curl" in failure.text


def test_a_deviation_below_the_level_that_fails_is_skipped(tmp_path: Path) -> None:
    with small_server("head") as url:
        done = typed(tmp_path, url, "--only", "head", "--junit", "report.xml")
        harder = typed(tmp_path, url, "--only", "head", "--fail-at", "recommended")
        easier = typed(tmp_path, url, "--only", "health", "--level", "required", "--json")
    assert (done.returncode, harder.returncode, easier.returncode) == (0, 1, 0)
    root = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert "deviates, recommended" in root.find(".//testcase[@name='health.live.head']/skipped").get("message")
    assert root.find(".//failure") is None
    assert {one["level"] for one in json.loads(easier.stdout)["results"]} == {"required"}


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.outside += [
            value or "" for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")
        ]


def test_the_page_stands_alone_and_hides_nothing(wrong: ConformanceReport) -> None:
    # What a server says is text, whatever it holds.
    evil = msgspec.structs.replace(wrong.of("deviates")[0], answer="<script>alert(1)</script>")
    page = render_page(msgspec.structs.replace(wrong, results=(evil, *wrong.results[1:])), "required")
    links = Links()
    links.feed(page)
    assert links.outside == []
    assert {"script", "link", "img"}.isdisjoint(links.tags)
    assert "&lt;script&gt;alert(1)" in page
    assert all(one.id in page for one in wrong.results[1:])
    assert "deviates" in page


def test_people_read_what_came_and_a_line_to_paste(tmp_path: Path) -> None:
    with small_server("fault") as url:
        done = typed(tmp_path, url, "--only", "errors.longer")
    assert done.returncode == 0
    assert "status 500, and not 4xx" in done.stdout
    assert re.search(rf"see it:  curl -sS -i -X POST {url}/v2/models/twice/infer", done.stdout)
    assert "inference_grpc.md" in done.stdout
    assert "conforms" in done.stdout


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["http://127.0.0.1:9"], "the connection was refused", "start it"),
        (["http://no-such-host.invalid"], "cannot be asked", "look at the address"),
        (["127.0.0.1:9"], "no URL", "give http://"),
        (["grpc://127.0.0.1:9", "--timeout", "2"], "cannot be asked", "start it"),
        (["http://127.0.0.1:9", "--level", "hard"], "no such level", "required"),
        (["http://127.0.0.1:9", "--example", "nowhere.json"], "cannot be read", "inference request"),
    ],
)
def test_what_cannot_be_asked_is_2_and_says_what_to_do(tmp_path: Path, words: list[str], said: str, hint: str) -> None:
    done = typed(tmp_path, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_without_the_model_is_2(tmp_path: Path) -> None:
    with small_server() as url:
        missing = typed(tmp_path, url, "--model", "thrice", "--json")
        nothing = typed(tmp_path, url, "--only", "no such case")
    assert (missing.returncode, nothing.returncode) == (2, 2)
    assert "--model" in json.loads(missing.stderr)["hint"]


def test_the_token_is_sent_and_in_no_report(tmp_path: Path) -> None:
    with small_server("id") as url:
        done = typed(
            tmp_path, url, "--token", "secret-of-mine", "--only", "infer.id", "--json", "--report", "page.html"
        )
    assert done.returncode == 1
    assert "Bearer $TOKEN" in done.stdout
    assert "secret-of-mine" not in done.stdout + (tmp_path / "page.html").read_text()
