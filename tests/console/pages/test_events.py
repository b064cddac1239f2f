"""Events: filtered, paged, verified."""

from __future__ import annotations

import re

from console_for_tests import Home


def test_the_filter_and_the_pages_of_events(home: Home) -> None:
    client = home.visitor("vera")
    verdicts = client.get("/events?kind=verdict.given&subject=model/flights").text
    assert verdicts.count("<tr>") == 5


def test_all_events_are_on_one_page_or_another(home: Home) -> None:
    client = home.visitor("vera")
    for query in ("", "subject=model/flights&"):
        seen: list[int] = []
        text = client.get(f"/events?{query}").text
        while True:
            seen += [int(number) for number in re.findall(r'class="seq">(\d+)<', text)]
            older = re.search(r'href="/events\?[^"]*before=(\d+)"', text)
            if older is None:
                break
            text = client.get(f"/events?{query}before={older[1]}").text
        wanted = home.app.registry.events(subject="model/flights" if query else "")
        assert seen == [event.seq for event in reversed(wanted)]


def test_verify_says_that_all_is_as_it_was(home: Home) -> None:
    answer = home.visitor("vera").post("/events/verify", headers={"origin": "http://localhost"})
    assert "Intact:" in answer.text
