"""Every store: order, one writer at a time, nothing of what was refused, refusal of what it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from penstock.adapters import TABLE, load
from penstock.errors import Conflict, NotFound
from penstock.records import Event
from penstock.registry.store import Store

KINDS = sorted(TABLE["store"])


def open_store(kind: str, place: Path, *, read_only: bool = False) -> Store:
    return cast("type[Store]", load("store", kind)).open(place, read_only=read_only)


def event(seq: int, subject: str = "model/m", generation: int = 1, body: str = "{}") -> Event:
    return Event(
        seq=seq,
        time=seq + 0.1,
        actor="ann",
        kind="version.registered",
        subject=subject,
        generation=generation,
        body=body,
        previous="p",
        hash="h",
        signature="s",
    )


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store with ? and # in its name.db"


def test_it_gives_back_what_it_got_in_order(kind: str, place: Path) -> None:
    store = open_store(kind, place)
    written = [event(n, generation=n, body='{"é\\n漢":0.1}') for n in range(1, 8)]
    for one in written:
        assert store.append(0, lambda news, one=one: one) == one  # type: ignore[misc]
    assert store.read(0, 100) == written
    assert store.read(3, 2) == written[3:5]
    assert store.read(7, 100) == []
    store.close()
    again = open_store(kind, place)
    assert again.read(0, 100) == written
    assert again.check() == []
    again.close()


def test_who_decides_sees_everything_new(kind: str, place: Path) -> None:
    one, other = open_store(kind, place), open_store(kind, place)
    one.append(0, lambda news: event(1))
    seen: list[Sequence[Event]] = []

    def decide(news: Sequence[Event]) -> Event:
        seen.append(news)
        return event(2, generation=2)

    other.append(0, decide)
    assert seen == [[event(1)]]
    assert one.read(1, 10) == [event(2, generation=2)]


@pytest.mark.parametrize(
    "taken",
    [event(1, "model/n"), event(3, "model/n"), event(2), event(2, generation=3), event(0), event(2, "model/n", 2)],
    ids=["number", "number skipped", "generation", "generation skipped", "before the first", "first generation"],
)
def test_what_is_taken_or_skipped_is_a_conflict(kind: str, place: Path, taken: Event) -> None:
    store = open_store(kind, place)
    store.append(0, lambda news: event(1))
    with pytest.raises(Conflict):
        store.append(0, lambda news: taken)
    assert store.read(0, 10) == [event(1)]


def test_a_refusal_leaves_no_trace_and_no_lock(kind: str, place: Path) -> None:
    store = open_store(kind, place)

    def refuse(news: Sequence[Event]) -> Event:
        raise NotFound("no")

    with pytest.raises(NotFound):
        store.append(0, refuse)
    assert store.read(0, 10) == []
    store.append(0, lambda news: event(1))


def test_a_reader_changes_nothing_and_needs_something_to_read(kind: str, place: Path) -> None:
    with pytest.raises(NotFound):
        open_store(kind, place, read_only=True)
    assert not place.exists()
    store = open_store(kind, place)
    store.append(0, lambda news: event(1))
    reader = open_store(kind, place, read_only=True)
    assert reader.read(0, 10) == [event(1)]
    store.close()
    reader.close()
    before = place.read_bytes()
    alone = open_store(kind, place, read_only=True)
    assert alone.read(0, 10) == [event(1)]
    assert alone.check() == []
    alone.close()
    assert place.read_bytes() == before


class Compare(RuleBasedStateMachine):
    """Two handles on one store against a plain list."""

    kind = KINDS[0]
    place: Path

    def __init__(self) -> None:
        super().__init__()
        self.place.unlink(missing_ok=True)
        for end in ("-wal", "-shm"):
            Path(f"{self.place}{end}").unlink(missing_ok=True)
        self.stores = [open_store(self.kind, self.place), open_store(self.kind, self.place)]
        self.model: list[Event] = []

    @rule(which=st.integers(0, 1), subject=st.sampled_from("abc"), behind=st.integers(0, 2), late=st.integers(-1, 1))
    def append(self, which: int, subject: str, behind: int, late: int) -> None:
        generation = sum(one.subject == subject for one in self.model) + 1 + late
        made = event(len(self.model) + 1, subject, generation)
        since = max(len(self.model) - behind, 0)

        def decide(news: Sequence[Event]) -> Event:
            assert list(news) == self.model[since:]
            return made

        if late:
            with pytest.raises(Conflict):
                self.stores[which].append(since, decide)
        else:
            self.stores[which].append(since, decide)
            self.model.append(made)

    @rule(which=st.integers(0, 1), number=st.integers(0, 1))
    def stale(self, which: int, number: int) -> None:
        if self.model:
            taken = msgspec.structs.replace(self.model[-1], seq=len(self.model) + number)
            with pytest.raises(Conflict):
                self.stores[which].append(0, lambda news: taken)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.stores[which].close()
        self.stores[which] = open_store(self.kind, self.place)

    @invariant()
    def all_see_the_same(self) -> None:
        assert all(store.read(0, 1000) == self.model for store in self.stores)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()


def test_two_handles_are_one_list(kind: str, tmp_path: Path) -> None:
    machine = type("Machine", (Compare,), {"kind": kind, "place": tmp_path / "machine.db"})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=15, deadline=None))
