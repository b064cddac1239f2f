"""An endpoint's exporter from the settings file on: told by the control plane, and on after it was killed."""

from __future__ import annotations

import os
import signal
import time
import urllib.request

import pytest

from sink_for_tests import Sink
from tests.journeys.conftest import SETTINGS, Typist
from tests.journeys.load_for_tests import is_running, note, traffic, until

pytestmark = pytest.mark.timeout(900)


def metric(typist: Typist, name: str) -> float:
    token = (typist.home / "keys" / "token").read_text().strip()
    url = f"{note(typist.home, 'control.json')['console']}/metrics"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))


def test_every_answer_is_told_through_a_kill_and_a_receiver_that_is_away(passed: Typist) -> None:
    with Sink() as sink:
        port = sink.port
        exporter = f"exporters:\n  churn: {{url: '{sink.url}', protocol: v1}}\n"
        (passed.folder / "penstock.yaml").write_text(SETTINGS + exporter)
        passed.run("down")
        url = passed.json("release", "churn@1")["url"]
        with traffic(url, "churn", pause_s=0.05) as clients:
            until(lambda: len(sink.taken) > 20)
            control = note(passed.home, "control.json")["pid"]
            os.kill(control, signal.SIGKILL)
            until(lambda: not is_running(control))
            time.sleep(0.5)
            passed.json("up")
            reached = len(sink.taken)
            until(lambda: len(sink.taken) > reached + 20)
    # The receiver is away, and requests go on.
    with traffic(url, "churn", pause_s=0.05) as more:
        until(lambda: sum(len(one.ids) for one in more) > 20)
        until(lambda: metric(passed, "penstock_export_lag_seconds") > 0.5)
    answered = {own_id for one in [*clients, *more] for own_id in one.ids}
    with Sink(port) as again:
        told = lambda: {one.headers["ce-id"] for one in [*sink.taken, *again.taken] if one.kind == "response"}  # noqa: E731
        until(lambda: answered <= told(), seconds=90)
        until(lambda: metric(passed, "penstock_export_lag_seconds") == 0)
    assert {one.headers["ce-id"] for one in [*sink.taken, *again.taken] if one.kind == "request"} >= answered
