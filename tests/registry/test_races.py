"""Several processes, one registry: exactly one wins each generation, and nobody's write is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chain_for_tests import DIGEST, put, version
from penstock.errors import Conflict
from penstock.records import AliasMove, Dataset
from penstock.registry.registry import Registry
from penstock.registry.verify import verify

HERE = Path(__file__).parent
PROCESSES, ROUNDS = 4, 30


@pytest.fixture
def home(tmp_path: Path) -> Path:
    registry = Registry.open(tmp_path / "home")
    admin = registry.identity_of(registry.local_token())
    for model in "mn":
        put(registry, "version.registered", version(model=model, author="admin"), by=admin)
    registry.close()
    return tmp_path / "home"


def start(home: Path, number: int, rounds: int = ROUNDS) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "race_workload.py"), str(home), str(number), str(rounds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(racers: list[subprocess.Popen[str]]) -> list[dict[str, object]]:
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0] for racer in racers]
    return [json.loads(line) for text in said for line in text.splitlines() if line.endswith("}")]


@pytest.mark.serial
def test_each_generation_has_one_winner(home: Path) -> None:
    attempts = run([start(home, number) for number in range(PROCESSES)])
    assert len(attempts) == PROCESSES * ROUNDS
    won = [(a["model"], a["expected"], *a["got"]) for a in attempts if a["got"]]  # type: ignore[misc]
    assert all(generation == expected + 1 for _, expected, _, generation in won)
    assert len({(model, generation) for model, _, _, generation in won}) == len(won), "two won the same generation"
    lost = [a for a in attempts if not a["got"]]
    taken = {(model, expected) for model, expected, _, _ in won}
    assert all((a["model"], a["expected"]) in taken for a in lost), "somebody lost to nobody"
    events = Registry.open(home).events(kind="alias.moved")
    assert [(e.seq, e.generation) for e in events] == sorted((seq, generation) for _, _, seq, generation in won)
    assert verify(home, packages=False).ok


@pytest.mark.serial
def test_a_killed_racer_holds_nobody_up(home: Path) -> None:
    victims, others = [start(home, n, 10_000) for n in (1, 2)], [start(home, n) for n in (3, 4)]
    for victim in victims:
        assert victim.stdin is not None
        assert victim.stdout is not None
        victim.stdin.write("go\n")
        victim.stdin.flush()
    acknowledged = []
    for victim in victims:
        assert victim.stdout is not None
        acknowledged += [json.loads(victim.stdout.readline()) for _ in range(5)]
        victim.send_signal(signal.SIGKILL)
    assert len(run(others)) == 2 * ROUNDS
    for victim in victims:
        victim.communicate()
    known = {(event.subject, event.generation, event.seq) for event in Registry.open(home).events()}
    for attempt in acknowledged:
        if attempt["got"]:
            seq, generation = attempt["got"]
            assert (f"model/{attempt['model']}", generation, seq) in known, "an acknowledged event is lost"


class TwoHands(RuleBasedStateMachine):
    """Two open registries against a model: aliases move by compare-and-set, other writes come between."""

    home: Path

    def __init__(self) -> None:
        super().__init__()
        self.hands = [Registry.open(self.home), Registry.open(self.home)]
        self.admin = self.hands[0].identity_of(self.hands[0].local_token())
        state = self.hands[0].state()
        self.alias = dict(state.models["m"].aliases)
        self.generation = state.generation("model/m")
        self.read = [self.generation, self.generation]

    @rule(hand=st.integers(0, 1))
    def look(self, hand: int) -> None:
        self.read[hand] = self.hands[hand].state().generation("model/m")

    @rule(hand=st.integers(0, 1), alias=st.sampled_from(["champion", "challenger"]), number=st.integers(1, 2))
    def move(self, hand: int, alias: str, number: int) -> None:
        record = AliasMove(model="m", alias=alias, version=number)
        if self.read[hand] != self.generation:
            with pytest.raises(Conflict):
                put(self.hands[hand], "alias.moved", record, by=self.admin, expect=self.read[hand])
            return
        event = put(self.hands[hand], "alias.moved", record, by=self.admin, expect=self.read[hand])
        self.generation = self.read[hand] = event.generation
        self.alias[alias] = number

    @rule(hand=st.integers(0, 1))
    def write_elsewhere(self, hand: int) -> None:
        put(self.hands[hand], "dataset.registered", Dataset(name="d", digest=DIGEST, rows=1), by=self.admin)

    @rule(hand=st.integers(0, 1))
    def reopen(self, hand: int) -> None:
        self.hands[hand].close()
        self.hands[hand] = Registry.open(self.home)

    @invariant()
    def both_hands_agree(self) -> None:
        states = [hand.state() for hand in self.hands]
        assert states[0] == states[1]
        assert states[0].models["m"].aliases == self.alias
        assert states[0].generation("model/m") == self.generation

    def teardown(self) -> None:
        for hand in self.hands:
            hand.close()


def test_two_hands_are_one_registry(home: Path) -> None:
    registry = Registry.open(home)
    admin = registry.identity_of(registry.local_token())
    put(registry, "version.registered", version(2, author="admin"), by=admin)
    registry.close()
    machine = type("Machine", (TwoHands,), {"home": home})
    run_state_machine_as_test(machine, settings=settings(max_examples=10, stateful_step_count=15, deadline=None))
