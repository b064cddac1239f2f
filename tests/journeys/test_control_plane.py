"""The control plane dies and comes back, and the whole thing goes down and up: what answers stays what it was."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from penstock.log.tables import compact, views
from penstock.log.tail import Tail
from penstock.records import Exchange
from tests.journeys.conftest import Typist
from tests.journeys.load_for_tests import Client, is_running, note, snapshot_number, traffic, until, workers

pytestmark = pytest.mark.timeout(900)

AWAY_S = 60 if os.environ.get("PENSTOCK_FULL") else 3
PAUSE_S = 0.005
"""Between a client's requests: other tests may run beside these."""


# Nobody listens, or nobody took the connection out of the queue: in neither case was anything asked.
REFUSALS = {
    "ConnectionRefusedError(111, 'Connection refused')",
    "ConnectionResetError(104, 'Connection reset by peer')",
    "BrokenPipeError(32, 'Broken pipe')",
}


class Reporter(threading.Thread):
    """Reports an outcome of each answer over the API, and keeps those that were acknowledged."""

    def __init__(self, home: Path, clients: list[Client]) -> None:
        super().__init__(daemon=True)
        self.home = home
        self.clients = clients
        self.over = threading.Event()
        self.acknowledged: list[str] = []
        self.lost = 0
        self.refused: list[str] = []

    def run(self) -> None:
        position = 0
        while not self.over.is_set():
            ids = self.clients[0].ids
            if position >= len(ids):
                time.sleep(0.002)
                continue
            prediction = f"{ids[position]}.0"
            position += 1
            try:
                self._report(prediction)
            except (OSError, http.client.HTTPException):
                self.lost += 1
                time.sleep(0.05)

    def _report(self, prediction: str) -> None:
        place = urlsplit(note(self.home, "control.json")["console"])
        token = (self.home / "keys" / "token").read_text().strip()
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
        try:
            body = json.dumps([{"prediction": prediction, "value": 1, "at": time.time()}])
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            connection.request("POST", "/api/v1/endpoints/churn/outcomes", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status == 201 and json.loads(text)["recorded"] == 1:
                self.acknowledged.append(prediction)
            else:
                self.refused.append(f"{answer.status} {text.decode()}")
        finally:
            connection.close()


def recorded(home: Path) -> list[str]:
    """Predictions whose outcomes are in the log."""
    compact(home / "log")
    with views(home / "log") as connection:
        return [one for (one,) in connection.execute("SELECT prediction FROM outcomes").fetchall()]


def test_killed_under_traffic_it_loses_nothing_and_adopts_what_runs(
    passed: Typist, record_property: pytest.RecordProperty
) -> None:
    url = passed.json("release", "churn@1")["url"]
    control, supervisor, serving = (
        note(passed.home, "control.json")["pid"],
        note(passed.home, "supervisor.json"),
        workers(passed.home),
    )
    with traffic(url, "churn", pause_s=PAUSE_S) as clients:
        reporter = Reporter(passed.home, clients)
        reporter.start()
        until(lambda: len(reporter.acknowledged) >= 20)
        number = snapshot_number(passed.home)
        os.kill(control, signal.SIGKILL)
        until(lambda: not is_running(control))
        at_death = len(reporter.acknowledged)
        answered = sum(len(client.ids) for client in clients)
        time.sleep(AWAY_S)
        # Predictions go on without it.
        until(lambda: sum(len(client.ids) for client in clients) > answered + 50)
        came_back = passed.json("up")
        assert came_back["pid"] != control
        until(lambda: len(reporter.acknowledged) >= at_death + 20)
        assert note(passed.home, "supervisor.json") == supervisor, "adopted: the same process at the same address"
        assert workers(passed.home) == serving
        reporter.over.set()
        reporter.join()
    assert [failure for client in clients for failure in client.failed] == []
    assert {version for client in clients for version in client.versions} == {"1"}
    assert reporter.refused == []
    assert reporter.lost >= 1, "while it was away its clients saw that"
    there = recorded(passed.home)
    assert len(there) == len(set(there))
    assert set(reporter.acknowledged) <= set(there), "what was acknowledged is in the log"
    assert len(there) <= len(reporter.acknowledged) + 1, "one may have been written and not yet acknowledged"
    assert snapshot_number(passed.home) == number, "nothing was decided anew"
    (line,) = passed.json("status")["endpoints"]
    assert (line["release"], line["phase"], line["variants"][0]["version"]) == (1, "live", 1)
    passed.run("verify")
    assert passed.json("release", "churn@2")["url"] == url, "and it goes on deciding"
    figures = {
        "requests": sum(len(client.ids) for client in clients),
        "acknowledged": len(reporter.acknowledged),
        "lost_to_their_callers": reporter.lost,
    }
    for name, value in figures.items():
        record_property(name, value)
    print(figures)


def test_down_finishes_what_is_held_and_up_answers_at_the_same_address(passed: Typist) -> None:
    url = passed.json("release", "churn@2")["url"]
    with traffic(url, "churn", pause_s=PAUSE_S) as clients:
        pids = [note(passed.home, "supervisor.json")["pid"], note(passed.home, "control.json")["pid"]]
        pids += workers(passed.home)
        stopped = passed.json("down")["stopped"]
        assert sorted(stopped) == ["control plane", "data plane"]
        assert not any(is_running(pid) for pid in pids)
        until(lambda: all(client.failed for client in clients))
    # Whoever was let in is answered; after that there is nobody to connect to.
    assert {failure for client in clients for failure in client.failed} <= REFUSALS
    logged = {exchange.id for exchange in Tail(passed.home / "log" / "journal", Exchange).read()}
    assert logged == {answered for client in clients for answered in client.ids}
    assert passed.json("status")["url"] == ""
    assert passed.json("predict", "churn", "--data", "validation.parquet", code=3)["error"] == "serve.not_ready"
    assert passed.json("down")["stopped"] == []

    passed.json("up")
    until(lambda: passed.json("status")["workers_ready"] == 2)
    (line,) = passed.json("status")["endpoints"]
    assert (line["release"], line["phase"]) == (1, "live")
    with traffic(url, "churn", pause_s=PAUSE_S) as again:
        until(lambda: sum(len(client.ids) for client in again) > 50)
    assert [failure for client in again for failure in client.failed] == []
    assert {version for client in again for version in client.versions} == {"2"}
    assert {answer for client in again for answer in client.answers} == set(clients[0].answers)
