"""Models and versions: who may press what, the report in its sandbox."""

from __future__ import annotations

import msgspec

from console_for_tests import Home
from penstock.console.language import TABLES
from penstock.console.pages.models import findings_of, parent_of


def test_nobody_is_offered_to_approve_their_own_work(home: Home) -> None:
    home.app.registry.add_identity("otto", ("operator", "approver"), by=home.app.identity)
    try:
        text = home.visitor("otto").get("/models/flights/versions/4").text
    finally:
        home.app.registry.add_identity("otto", ("operator",), by=home.app.identity)
    assert TABLES["en"]["approval.own"] in text
    assert "approval-form" not in text


def test_a_refused_version_is_not_offered_for_release(home: Home) -> None:
    assert 'action="/releases"' not in home.visitor("root").get("/models/taxi/versions/1").text


def test_the_report_is_shown_in_a_sandbox(home: Home) -> None:
    answer = home.visitor("vera").get("/models/flights/versions/4/report")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "flights" in answer.text


def test_the_card_is_linked_and_shown_in_a_sandbox(home: Home) -> None:
    visitor = home.visitor("vera")
    assert 'href="/models/flights/versions/4/card"' in visitor.get("/models/flights/versions/4").text
    answer = visitor.get("/models/flights/versions/4/card")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "model card" in answer.text


def test_a_parent_is_named_by_its_version_and_linked(home: Home) -> None:
    state = home.app.state()
    known = ("flights@3", "/models/flights/versions/3")
    assert parent_of(state, state.version("flights", 3).version.digest) == known
    assert parent_of(state, "flights@3") == known
    assert parent_of(state, f"sha256:{'ab' * 32}") == ("ab" * 6, "")
    assert 'href="/models/flights/versions/3"' in home.visitor("vera").get("/models/flights/versions/4").text


def test_what_blocks_stands_before_what_does_not(home: Home) -> None:
    verdict = home.app.state().version("taxi", 1).verdict
    turned = msgspec.structs.replace(verdict, findings=verdict.findings[::-1])
    before, after = [one.blocking for one in turned.findings], [one.blocking for one in findings_of(turned)]
    assert before != after
    assert after == sorted(before, reverse=True)
    assert findings_of(None) == []
