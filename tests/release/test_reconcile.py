"""The loop over a real registry: killed anywhere, run twice, told otherwise behind its back; it converges."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from home_for_tests import Control, Home
from msgspec.structs import replace

from penstock.errors import Conflict, TargetFailed
from penstock.records import Record
from penstock.release.target import TargetStatus, Wish


class Bench:
    """A target whose workers do at once what they are told; `unready` packages never load, `broken` ones fail."""

    def __init__(self) -> None:
        self.number = 0
        self.wish = Wish()
        self.unready: set[str] = set()
        self.broken: dict[str, str] = {}
        self.down = False
        self.history: list[Wish] = []
        self.lock = threading.Lock()

    def apply(self, wish: Wish, *, expect: int | None = None) -> int:
        with self.lock:
            if self.down:
                raise TargetFailed("it is down", "start it")
            if expect is not None and expect != self.number:
                raise Conflict("told otherwise", "look again")
            if wish != self.wish:
                self.number += 1
                self.wish = wish
                self.history.append(wish)
            return self.number

    def observe(self) -> TargetStatus:
        with self.lock:
            ready = set(self.wish.packages) - self.unready - set(self.broken)
            failed = {digest: why for digest, why in self.broken.items() if digest in self.wish.packages}
            return TargetStatus(
                number=self.number, wish=self.wish, running=True, ready=tuple(ready), failed=failed, settled=True
            )

    def remove(self) -> None:
        self.down = True


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Home]:
    folder = tmp_path_factory.mktemp("homes")
    numbers = iter(range(1000))
    return lambda: Home(folder / f"home-{next(numbers)}", 0.0, 0.5)


@pytest.fixture
def home(made: Callable[[], Home]) -> Home:
    return made()


def live(home: Home, control: Control, number: int) -> None:
    release = home.wish(number)
    control.until(control.ended(release.revision))


def answering(target: Bench) -> list[tuple[int, float]]:
    return [(variant.version, variant.share) for variant in target.wish.routes[0].variants]


def phases(home: Home, revision: int) -> list[str]:
    return [step.phase for step in home.registry.state().endpoint("e").steps_of(revision)]


def test_one_step_a_turn_from_wish_to_settled(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    home.wish(1)
    seen = [control.turn()[0] for _ in range(4)]
    assert [turn.step.phase if turn.step else "" for turn in seen] == ["warming", "live", "", ""]
    assert seen[2].settled is not None
    assert seen[2].settled.outcome == "live"
    assert seen[3].waiting == ""
    assert answering(target) == [(1, 1.0)]


def test_nothing_moves_without_a_wish(home: Home) -> None:
    target = Bench()
    assert Control(home, target).turn() == []
    assert target.wish.routes == ()


def test_the_version_before_stays_warm_and_going_back_is_one_step(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    live(home, control, 2)
    assert target.wish.routes[0].warm == (home.digests[0],)
    back = home.roll_back()
    turn = control.turn()[0]
    assert turn.step is not None
    assert turn.step.phase == "live"
    assert answering(target) == [(1, 1.0)]
    control.until(control.ended(back.revision))
    assert target.wish.routes[0].warm == (home.digests[1],)


def test_a_rollback_brings_the_whole_release_back(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    second = replace(home.wish(2), revision=3, previous=2, thresholds={"1": 0.7}, reason="with a threshold")
    control.until(control.ended(2))
    home.registry.append("release.requested", "endpoint/e", second, by=home.who["ann"])
    control.until(control.ended(3))
    assert target.wish.routes[0].thresholds == {"1": 0.7}
    home.roll_back()
    control.turn()
    assert target.wish.routes[0].thresholds == {}
    assert target.wish.routes[0].release == 4


def test_a_package_that_cannot_run_changes_nothing(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    target.broken = {home.digests[1]: "its golden examples are wrong"}
    release = home.wish(2, "canary")
    control.until(control.ended(release.revision))
    endpoint = home.registry.state().endpoint("e")
    assert endpoint.settled[2].outcome == "failed"
    assert "golden" in endpoint.settled[2].reason
    assert endpoint.stable is not None
    assert endpoint.stable.revision == 1
    assert answering(target) == [(1, 1.0)]
    assert home.digests[1] not in target.wish.packages


def test_a_first_release_that_cannot_run_leaves_nothing_behind(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    target.broken = {home.digests[0]: "its golden examples are wrong"}
    home.wish(1)
    control.until(control.ended(1))
    assert target.wish.routes == ()
    target.broken = {}
    live(home, control, 2)
    assert answering(target) == [(2, 1.0)]


def test_a_newer_wish_takes_a_canary_back(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    home.wish(2, "canary")
    control.until(lambda: control.phase() == "shifting")
    assert answering(target) == [(2, 0.1), (1, 0.9)]
    back = home.roll_back()
    control.until(control.ended(back.revision))
    assert answering(target) == [(1, 1.0)]
    assert home.registry.state().endpoint("e").settled[2].outcome == "superseded"


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("strategy", ["at-once", "blue-green"])
def test_killed_between_apply_and_append_the_next_one_converges(home: Home, strategy: str) -> None:
    target = Bench()
    live(home, Control(home, target), 1)
    release = home.wish(2, strategy)

    def dies(kind: str, subject: str, record: Record, expect: int | None) -> object:
        raise Killed

    def dies_after(kind: str, subject: str, record: Record, expect: int | None) -> object:
        home.append(kind, subject, record, expect)
        raise Killed

    for _ in range(12):
        for append in (dies, dies_after):
            with pytest.raises(Killed):
                Control(home, target, append=append).turn()
            if Control(home, target).ended(release.revision)():
                break
        else:
            continue
        break
    Control(home, target).turn()
    assert answering(target) == [(2, 1.0)]
    steps = phases(home, release.revision)
    assert len(steps) == len(set(steps))
    assert steps[-1] == "live"


def test_what_was_told_behind_its_back_is_told_again(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    target.apply(replace(target.wish, routes=()))
    control.turn()
    assert answering(target) == [(1, 1.0)]


def test_a_target_that_is_down_is_told_when_it_is_back(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    home.wish(2)
    target.down = True
    with pytest.raises(TargetFailed):
        control.turn()
    target.down = False
    control.until(control.ended(2))
    assert answering(target) == [(2, 1.0)]


def test_two_loops_at_once_take_each_step_once(home: Home) -> None:
    target = Bench()
    live(home, Control(home, target), 1)
    errors: list[BaseException] = []

    def loop(over: threading.Event) -> None:
        control = Control(home, target)
        while not over.is_set():
            try:
                control.turn()
            except BaseException as error:
                errors.append(error)
                return

    over = threading.Event()
    loops = [threading.Thread(target=loop, args=(over,)) for _ in range(3)]
    for one in loops:
        one.start()
    control = Control(home, target)
    for number in range(12):
        release = home.wish(2 - number % 2, "blue-green" if number % 3 else "at-once")
        while not control.ended(release.revision)() and not errors:
            over.wait(0.01)
        state = home.registry.state().endpoint("e")
        assert phases(home, release.revision) == sorted(
            set(phases(home, release.revision)), key=["warming", "shifting", "live"].index
        )
        assert state.stable is not None
        assert state.stable.revision == release.revision
    over.set()
    for one in loops:
        one.join()
    assert not errors
    control.turn()
    assert answering(target) == [(1, 1.0)]


def test_rollback_and_release_at_once_leave_one_winner(home: Home) -> None:
    target = Bench()
    control = Control(home, target)
    live(home, control, 1)
    for _ in range(10):
        outcomes: list[str] = []

        def race(act: Callable[[], object], outcomes: list[str] = outcomes) -> None:
            try:
                act()
                outcomes.append("won")
            except Conflict:
                outcomes.append("409")

        racers = [
            threading.Thread(target=race, args=(act,)) for act in (lambda: home.wish(2), lambda: home.roll_back(1))
        ]
        for one in racers:
            one.start()
        for one in racers:
            one.join()
        assert "won" in outcomes
        control.until(control.ended(len(home.registry.state().endpoint("e").releases)))
        wished = home.registry.state().endpoint("e").releases[-1].variants[0].version
        assert answering(target) == [(wished, 1.0)]
