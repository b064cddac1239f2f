"""Events: in pages that miss none."""

from __future__ import annotations

from console_for_tests import Home


def test_events_come_in_pages_that_miss_none(home: Home) -> None:
    client = home.client("vera")
    seen, since = [], 0
    while True:
        page = client.get("/api/v1/events", params={"since": since, "limit": 20}).json()
        seen += [event["seq"] for event in page["events"]]
        since = page["next"]
        if not since:
            break
    assert seen == list(range(1, home.app.state().seq + 1))
    kinds = client.get("/api/v1/events?kind=verdict.given").json()["events"]
    assert {event["kind"] for event in kinds} == {"verdict.given"}
