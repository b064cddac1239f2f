"""Two people act on one endpoint at once: one of them wins each time, the other is told, and the chain is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.journeys.conftest import Typist

pytestmark = pytest.mark.timeout(900)

ROUNDS = 20
PAIRS = 10 if os.environ.get("PENSTOCK_FULL") else 2
ACT = """
import json, sys
from pathlib import Path
from penstock.app.opening import open_app
from penstock.app.releasing import ReleaseRequest, plan_release, rollback
from penstock.errors import Conflict

app = open_app(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    words = json.loads(line)
    subject = "endpoint/churn"
    generation = app.state().generation(subject)
    print("read", flush=True)
    sys.stdin.readline()
    try:
        made = plan_release(app, words["ref"], ReleaseRequest(reason="a race"))
        event = app.registry.append("release.requested", subject, made, by=app.identity, expect=generation)
        print(json.dumps({"won": event.generation}), flush=True)
    except Conflict as conflict:
        print(json.dumps({"lost": conflict.code}), flush=True)
"""


def test_of_two_commands_at_once_each_release_has_one_author(passed: Typist) -> None:
    passed.json("release", "churn@1")
    won, codes = 0, []
    for turn in range(PAIRS):
        verbs = (["release", f"churn@{1 + turn % 2}"], ["rollback", "churn"] if turn else ["release", "churn@2"])
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "penstock", *words, "--json"],
                cwd=passed.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for words in verbs
        ]
        for process in running:
            answer, problem = process.communicate(timeout=240)
            codes.append(process.returncode)
            if process.returncode == 1:
                assert json.loads(problem)["error"].endswith("conflict")
            else:
                assert process.returncode in (0, 3), problem
                won += 1
                assert json.loads(answer)["endpoint"] == "churn"
    (line,) = passed.json("status")["endpoints"]
    assert line["release"] == 1 + won, f"each that was told yes is a release, and nobody else: {codes}"
    assert passed.json("verify")["ok"]


def test_of_two_who_read_the_same_state_exactly_one_wins(passed: Typist) -> None:
    passed.json("release", "churn@1")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", ACT, str(passed.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        assert [one.stdout.readline() for one in both] == ["ready\n"] * 2
        generations = []
        for turn in range(ROUNDS):
            for one in both:
                _tell(one, json.dumps({"ref": f"churn@{1 + turn % 2}"}))
            assert [one.stdout.readline() for one in both] == ["read\n"] * 2
            for one in both:
                _tell(one, "go")
            said = [json.loads(one.stdout.readline()) for one in both]
            wins = [answer["won"] for answer in said if "won" in answer]
            assert len(wins) <= 1, "never both"
            assert all(answer.get("lost", "registry.conflict").endswith("conflict") for answer in said)
            generations += wins
        assert generations == sorted(set(generations))
    finally:
        for one in both:
            one.kill()
            one.wait()
    assert passed.json("verify")["ok"]


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
