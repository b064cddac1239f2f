"""G3: an operator takes a release back in a second; a bad candidate is found and taken back by itself, with the
control plane's process dead where that is possible."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from figures_for_tests import FULL, Figures
from penstock.release.targets.local import LocalTarget
from tests.journeys.conftest import Typist
from tests.journeys.load_for_tests import Client as Asking
from tests.journeys.load_for_tests import is_running, note, traffic, until
from tests.release.home_for_tests import Client, Control, Home, local

ROLLBACKS = 10 if FULL else 2
PAUSE_S = 0.0 if FULL else 0.01
"""Between a client's requests: in the full form they leave the commands nothing but their share of the machine."""
STABLE, RETRAINED, BROKEN = 0.0, 0.3, -6.0
"""Biases of three versions; the last answers fast, status 200, and nearly the same wrong score to everybody."""
GUARDS = {"min_units": 60, "latency_s": 5.0}


@pytest.mark.timeout(1800)
def test_an_operator_takes_back(passed: Typist, figures: Figures) -> None:
    """Over the command line; the last time with the control plane killed for good, on the home folder alone."""
    url = passed.json("release", "churn@1")["url"]
    passed.json("release", "churn@2")
    said: list[float] = []
    wrong = 0
    with traffic(url, "churn", pause_s=PAUSE_S) as clients:
        for turn in range(ROLLBACKS + 1):
            if turn == ROLLBACKS:
                control = note(passed.home, "control.json")["pid"]
                os.kill(control, signal.SIGKILL)
                until(lambda dead=control: not is_running(dead))
            typed = time.monotonic()
            answer = passed.json("rollback", "churn")
            prompt_s = time.monotonic() - typed
            said.append(answer["seconds"])
            assert (answer["phase"], answer["version"]) == ("live", 1 + turn % 2)
            time.sleep(0.1)
            # What is asked from now on is answered by the version gone back to, and by no other.
            before = others(clients, answer["version"])
            time.sleep(0.3)
            wrong += others(clients, answer["version"]) - before
    figures.count("operator's rollbacks", len(said) - 1, at_least=ROLLBACKS)
    figures.count("failed requests", sum(len(client.failed) for client in clients), at_most=0)
    figures.count("answers from the version that was taken back", wrong, at_most=0)
    figures.timed("slowest rollback, from the wish to every worker, s", max(said[:-1]), at_most=1.0)
    figures.timed("rollback with the control plane dead, s", said[-1], at_most=1.0)
    figures.note("from typing that to the prompt, a new control plane started, s", round(prompt_s, 2))
    figures.hold()


def others(clients: list[Asking], version: int) -> int:
    """Answers from any version but one."""
    return sum(sum(client.versions.values()) - client.versions[str(version)] for client in clients)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Home, LocalTarget, Control]]:
    """Version 1 live, and a control loop over it."""
    made = Home(tmp_path / "home", STABLE, RETRAINED, BROKEN)
    target = local(made)
    control = Control(made, target)
    try:
        made.wish(1)
        control.until(control.ended(1))
        yield made, target, control
    finally:
        target.remove()


@pytest.mark.serial
def test_a_bad_candidate_is_taken_back_by_itself(home: tuple[Home, LocalTarget, Control], figures: Figures) -> None:
    """From its first wrong answer to its last; no status tells, the scores alone."""
    made, target, control = home
    clients = [Client(target.observe().url, keys=3_000, seed=number) for number in range(2)]
    for client in clients:
        client.start()
    until(lambda: min(len(client.versions) for client in clients) >= 300)
    release = made.wish(3, "canary", **GUARDS)
    marks = [len(client.versions) for client in clients]
    first: list[float] = []

    def seen() -> bool:
        if not first and any("3" in client.versions[mark:] for client, mark in zip(clients, marks, strict=True)):
            first.append(time.monotonic())
        return control.phase() == "rolled_back"

    control.until(seen, seconds=60)
    control.until(control.ended(release.revision))
    seconds = time.monotonic() - first[0]
    answers = [v for client, mark in zip(clients, marks, strict=True) for v in client.versions[mark:]]
    clean = [len(client.versions) for client in clients]
    time.sleep(0.5)
    later = [v for client, mark in zip(clients, clean, strict=True) for v in client.versions[mark + 1 :]]
    for client in clients:
        client.stop()
    steps = made.registry.state().endpoint("e").steps_of(release.revision)
    share = max(one.share for step in steps for one in step.variants if one.name == "canary")
    bad = answers.count("3")
    figures.count("bad answers", bad, at_least=1)
    rate = len(answers) / seconds
    figures.note("canary's share", round(share, 3))
    figures.count(
        "bad answers, of the canary's share of 10 s of traffic", round(bad / (share * 10 * rate), 3), at_most=1.0
    )
    figures.count("failed requests beside a bad candidate", sum(len(client.failed) for client in clients), at_most=0)
    figures.count("bad answers after it was taken back", later.count("3"), at_most=0)
    figures.timed("taken back after its first bad answer, s", seconds, at_most=10.0)
    figures.hold()
