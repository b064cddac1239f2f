"""What is wrong with a server is found, with the request that shows it; a server that is right has no deviation."""

from __future__ import annotations

import subprocess

import pytest
from small_server_for_tests import PLANTS, small_server

from penstock.conformance.case import LEVELS
from penstock.conformance.kit import KitOptions
from penstock.conformance.opening import open_kit
from penstock.conformance.suite import ConformanceReport, chosen_cases, run_suite
from penstock.errors import BadConfig, NotFound, TargetFailed


def judged(url: str, only: str = "", **options: object) -> ConformanceReport:
    kit = open_kit(KitOptions(**{"url": url, "timeout_s": 5.0, **options}))
    try:
        return run_suite(kit, chosen_cases("extension", only), lambda *_: None)
    finally:
        kit.close()


def test_a_server_that_is_right_has_none() -> None:
    with small_server() as url:
        report = judged(url)
    assert report.of("deviates") == []
    assert len(report.of("kept")) > 110


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_is_found(plant: str) -> None:
    level, case_id = PLANTS[plant]
    with small_server(plant) as url:
        report = judged(url)
    found = {one.id: one for one in report.of("deviates")}
    assert found[case_id].level == level
    assert found[case_id].reason
    # Nothing above its level is blamed, and a lower level's run does not even ask.
    assert not any(LEVELS.index(one.level) < LEVELS.index(level) for one in found.values())
    assert report.fails(level)
    assert report.fails("required") == (level == "required")


def test_the_line_to_paste_shows_the_deviation() -> None:
    with small_server("fault") as url:
        (found,) = judged(url, only="errors.longer.4xx").of("deviates")
        done = subprocess.run(["bash", "-c", found.request], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HTTP/1.1 500"), done.stdout


@pytest.mark.parametrize(("plant", "why"), [
    ("hangs", "no answer within 0.3 s"), ("closes", "closed without an answer"), ("nonsense", "not HTTP"),
])  # fmt: skip
def test_a_server_that_does_not_answer_makes_its_cases_deviate(plant: str, why: str) -> None:
    with small_server(plant) as url:
        report = judged(url, timeout_s=0.3)
    found = {one.id: one for one in report.of("deviates")}
    assert why in found["infer.flat"].reason
    assert found["infer.flat"].request.startswith("curl")
    assert found["infer.flat"].answer == "none"
    kept = {one.id for one in report.of("kept")}
    assert {"health.live", "metadata.model"} <= kept
    # It is given up after some silence, not asked a hundred times on.
    assert [one.reason for one in report.of("skipped")].count("the server has stopped answering") > 80


def test_a_model_of_few_rows_is_asked_for_few() -> None:
    with small_server("two-rows") as url:
        many, few, one = judged(url), judged(url, most_rows=2), judged(url, rows=False)
    assert {"infer.rows", "property.valid"} <= {one.id for one in many.of("deviates")}
    assert few.of("deviates") == one.of("deviates") == []
    assert "property.permuted-rows" not in {result.id for result in one.of("kept")}


def test_rows_that_the_configuration_allows_are_asked_for() -> None:
    with small_server("configured") as url:
        report = judged(url)
    assert report.of("deviates") == []
    assert {"configuration.model", "property.permuted-rows"} <= {one.id for one in report.of("kept")}


def test_one_silence_is_no_reason_to_stop() -> None:
    with small_server("closes-ready") as url:
        report = judged(url, only="health")
    assert "closed" in next(one.reason for one in report.of("deviates") if one.id == "health.ready")
    assert "health.live.head" in {one.id for one in (*report.of("kept"), *report.of("deviates"))}


def test_nobody_there_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(TargetFailed, match="refused") as found:
        open_kit(KitOptions(url="http://127.0.0.1:9"))
    assert "start it" in found.value.hint
    with pytest.raises(TargetFailed, match="nobody answered"):
        open_kit(KitOptions(grpc="127.0.0.1:9", timeout_s=3))
    with pytest.raises(BadConfig, match="no URL"):
        open_kit(KitOptions(url="127.0.0.1:8000"))
    with small_server() as url, pytest.raises(NotFound, match="metadata of the model") as missing:
        open_kit(KitOptions(url=url, model="thrice"))
    assert "--model" in missing.value.hint
