"""docs/conformance.md is true: its table is the reports', of this kit, and its example is a case."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import pytest
from small_server_for_tests import small_server

import penstock.conformance.suite
from penstock import __version__
from penstock.commands.conformance import run
from penstock.conformance.case import ProtocolCase, all_cases
from penstock.conformance.kit import KitOptions
from penstock.conformance.opening import open_kit
from penstock.conformance.suite import run_suite

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.conformance import BEGIN, END, SERVERS, read_reports, tables  # noqa: E402

PAGE = (ROOT / "docs" / "conformance.md").read_text()


def test_the_table_is_of_this_kit_and_of_all_servers() -> None:
    assert f"Kit {__version__}, {len(all_cases())} cases" in PAGE, "python -m bench.conformance"
    reports = read_reports()
    assert list(reports) == list(SERVERS)
    for runs in reports.values():
        assert len(runs) == 2
        for report in runs:
            assert [one.id for one in report.results] == [case.id for case in all_cases()]
            assert [one.title for one in report.results] == [case.title for case in all_cases()]


def test_the_table_is_what_the_reports_say() -> None:
    assert PAGE.partition(BEGIN)[2].partition(END)[0].strip() == tables(read_reports()).strip()


def test_ours_has_no_deviation() -> None:
    assert [one.id for report in read_reports()["penstock"] for one in report.of("deviates")] == []


def test_each_deviation_has_its_request() -> None:
    for runs in read_reports().values():
        for one in (one for report in runs for one in report.of("deviates")):
            assert one.request.startswith(("curl ", "grpcurl ", "echo ")), one.id
            assert "127.0.0.1" not in one.request


def test_the_example_of_a_case_is_one_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    case = msgspec.json.decode(text, type=ProtocolCase)
    assert case.id not in {one.id for one in all_cases()}
    with small_server() as url, small_server("id") as other:
        for address, outcome in ((url, "kept"), (other, "deviates")):
            kit = open_kit(KitOptions(url=address))
            assert run_suite(kit, [case], lambda *_: None).results[0].outcome == outcome
            kit.close()


def test_every_option_that_is_named_exists() -> None:
    named = set(re.findall(r"(--[a-z][a-z-]+)", PAGE.partition("## Add a case")[0]))
    known = {f"--{name.replace('_', '-')}" for name in run.__annotations__}
    assert named <= known
    assert {"--junit", "--report", "--level", "--example", "--seed"} <= named
    assert penstock.conformance.suite.FORMAT == 1
