"""What is news: an opening, a worsening, a closing, each once, however often the monitors say it again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.app.incidents import CLOSED, OPENED, RANK, news_of
from penstock.records import Incident

FIRST = Incident(
    endpoint="e", cause="risk", severity="ticket", title="t", effect="f", guarantee="g", closes="c", opened_at=10.0
)


def said(**changes: object) -> Incident:
    return replace(FIRST, **changes)


def test_opened_closed_and_opened_again() -> None:
    assert news_of(None, FIRST) == (OPENED, FIRST)
    closed = said(closed_at=20.0)
    assert news_of(FIRST, closed) == (CLOSED, closed)
    again = said(opened_at=30.0)
    assert news_of(closed, again) == (OPENED, again)


def test_only_a_higher_severity_is_written_while_it_is_open() -> None:
    assert news_of(FIRST, said(evidence={"columns": ["a", "b"]})) is None
    assert news_of(FIRST, said(severity="record")) is None
    worse = said(severity="page")
    assert news_of(FIRST, worse) == (OPENED, worse)
    assert news_of(worse, FIRST) is None


def test_what_was_said_before_a_restart_is_no_news() -> None:
    now_open = said(opened_at=30.0)
    assert news_of(now_open, FIRST) is None
    assert news_of(now_open, said(closed_at=20.0)) is None, "an older incident's end must not close this one"
    assert news_of(said(closed_at=20.0), FIRST) is None
    assert news_of(None, said(closed_at=20.0)) is None


def test_an_incident_whose_beginning_was_pruned_still_closes() -> None:
    later = said(opened_at=15.0)
    assert news_of(FIRST, later) is None
    assert news_of(FIRST, replace(later, closed_at=40.0)) == (CLOSED, said(closed_at=40.0))


@given(st.lists(st.sampled_from(["open", "worse", "same", "close"]), max_size=30))
def test_a_replay_says_nothing_new(happenings: list[str]) -> None:
    monitor: Incident | None = None
    stream: list[Incident] = []
    for at, what in enumerate(happenings, start=1):
        if monitor is None:
            monitor = said(opened_at=float(at), severity="record") if what == "open" else None
        elif what == "worse":
            monitor = replace(monitor, severity=RANK[min(RANK.index(monitor.severity) + 1, 2)])
        if monitor is not None:
            stream.append(monitor if what != "close" else replace(monitor, closed_at=float(at)))
        monitor = None if what == "close" else monitor
    known: Incident | None = None
    for one in stream:
        news = news_of(known, one)
        known = news[1] if news else known
    if stream:
        assert known is not None
        assert (known.opened_at, known.closed_at, known.severity) == (
            stream[-1].opened_at, stream[-1].closed_at, stream[-1].severity,
        )  # fmt: skip
    assert [news_of(known, one) for one in stream] == [None] * len(stream)
