"""One byte changed anywhere is found, and named: the event by number and field, the file by path."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chain_for_tests import put, version, write_history
from penstock.access.keys import PublicKey, load_or_create
from penstock.records import Event, SignedHead
from penstock.registry.events import seal
from penstock.registry.heads import sign_head
from penstock.registry.registry import Registry
from penstock.registry.stores.sqlite import SqliteStore
from penstock.registry.verify import Verification, verify

FIELDS = ("seq", "time", "actor", "kind", "subject", "generation", "body", "previous", "hash", "signature")
EVENTS = 60
SEED = 2013


class Town:
    """A home that was closed, its public key and head as kept outside, and its events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        registry = Registry.open(self.folder)
        write_history(registry, folder / "package", datasets=36)
        self.key: PublicKey = registry.public_key
        self.head: SignedHead = registry.head()
        self.events: list[Event] = registry.events()
        registry.close()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    made = Town(tmp_path_factory.mktemp("town"))
    assert len(made.events) >= EVENTS
    return made


class Copy:
    """A copy of the town's registry to tamper with."""

    def __init__(self, town: Town, folder: Path) -> None:
        self.town, self.folder = town, folder

    def fresh(self) -> None:
        for name in ("registry.db", "head.json"):
            (self.folder / name).unlink(missing_ok=True)
            shutil.copy(self.town.folder / name, self.folder / name)
        for end in ("-wal", "-shm"):
            (self.folder / f"registry.db{end}").unlink(missing_ok=True)

    def run(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        connection = sqlite3.connect(self.folder / "registry.db")
        with connection:
            for statement, values in statements:
                connection.execute(statement, values)
        connection.close()

    def verify(self, **extra: SignedHead) -> Verification:
        return verify(self.folder, [self.town.key], packages=False, **extra)  # type: ignore[arg-type]

    def places(self) -> list[tuple[int, str]]:
        return [(problem.seq, problem.field) for problem in self.verify().problems]


@pytest.fixture
def copy(town: Town, tmp_path: Path) -> Copy:
    made = Copy(town, tmp_path)
    made.fresh()
    return made


def test_an_untouched_home_is_sound(town: Town) -> None:
    found = verify(town.folder, [town.key], head=town.head)
    assert found.ok, found.problems
    assert (found.events, found.packages, found.head) == (len(town.events), 1, town.events[-1].hash)
    assert verify(town.folder).ok, "the key in the home will do when none was kept outside"


def changed(event: Event, field: str, chance: random.Random) -> object:
    """The field's value with one byte of it changed."""
    value = getattr(event, field)
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, float):
        return value + chance.choice([-1, 1]) * 2.0 ** -chance.randrange(18)
    place = chance.randrange(len(value))
    other = chance.choice([c for c in 'XYZ }"{:' if c != value[place]])
    return value[:place] + other + value[place + 1 :]


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_field_of_any_event_is_named(copy: Copy, field: str) -> None:
    chance = random.Random(f"{SEED}{field}")
    named = "time or body" if field in ("time", "body") else field
    # Every event is hit in three of its fields or more, every field in a third of all events.
    for event in copy.town.events[FIELDS.index(field) % 3 :: 3]:
        copy.fresh()
        copy.run((f"UPDATE events SET {field} = ? WHERE seq = ?", (changed(event, field, chance), event.seq)))
        found = copy.places()
        if field == "seq":
            assert (event.seq, "") in found, "its number is missing"
            assert (event.seq + 1000, "seq") in found
        else:
            assert found[0] == (event.seq, named)
            assert {seq for seq, _ in found} == {event.seq}, "and no other is blamed"


def test_a_value_of_another_type_is_named(copy: Copy) -> None:
    for field in FIELDS[1:]:
        copy.fresh()
        copy.run((f"UPDATE events SET {field} = x'00ff' WHERE seq = 17", ()))
        seq, named = copy.places()[0]
        assert seq == 17
        assert named in (field, "time or body")


def test_text_that_is_no_text_is_named(copy: Copy) -> None:
    copy.run(("UPDATE events SET body = CAST(x'ff7b' AS TEXT) WHERE seq = 17", ()))
    assert copy.places() == [(17, "time or body")]


def test_a_deleted_event_is_missed(copy: Copy) -> None:
    for event in copy.town.events[::3]:
        copy.fresh()
        copy.run(("DELETE FROM events WHERE seq = ?", (event.seq,)))
        assert copy.places()[0] == (event.seq, "")


def test_two_events_that_changed_places_are_named(copy: Copy) -> None:
    for seq in range(1, EVENTS, 5):
        copy.fresh()
        swap = [(999, seq), (seq, seq + 1), (seq + 1, 999)]
        copy.run(*[("UPDATE events SET seq = ? WHERE seq = ?", pair) for pair in swap])
        assert copy.places()[:2] == [(seq, "seq"), (seq + 1, "seq")]


def test_a_cut_off_tail_is_missed(copy: Copy) -> None:
    last = len(copy.town.events)
    for kept in (0, 1, last // 2, last - 1):
        copy.fresh()
        copy.run(("DELETE FROM events WHERE seq > ?", (kept,)))
        assert copy.places() == [(kept + 1, "")]


def test_a_forged_event_is_named(copy: Copy, tmp_path: Path) -> None:
    """A thief without the key adds one, hash and all."""
    thief, last = load_or_create(tmp_path / "thief"), copy.town.events[-1]
    forged = seal(msgspec.structs.replace(last, seq=last.seq + 1, generation=3, previous=last.hash), thief)
    row = msgspec.structs.astuple(forged)
    copy.run((f"INSERT INTO events VALUES ({','.join('?' * len(row))})", row))
    assert copy.places() == [(last.seq + 1, "signature")]


def test_an_event_put_in_between_is_named(copy: Copy) -> None:
    for seq in (2, 30, EVENTS - 1):
        copy.fresh()
        copy.run(
            ("UPDATE events SET seq = -(seq + 1) WHERE seq >= ?", (seq,)),
            ("UPDATE events SET seq = -seq WHERE seq < 0", ()),
            (
                "INSERT INTO events SELECT ?, time, actor, kind, subject, 777, body, previous, hash, signature "
                "FROM events WHERE seq = 1",
                (seq,),
            ),
        )
        assert copy.places()[0][0] == seq


def test_a_chain_by_another_key_is_refused_from_its_first_event(copy: Copy, tmp_path: Path) -> None:
    other = Registry.open(tmp_path / "other")
    other.close()
    found = verify(tmp_path / "other", [copy.town.key], packages=False)
    assert [(problem.seq, problem.field) for problem in found.problems[:1]] == [(1, "signature")]
    assert any(problem.file == "head.json" for problem in found.problems)


def test_a_rule_that_was_broken_with_the_right_key_is_named(town: Town, tmp_path: Path) -> None:
    """Who holds the key can sign anything, but not what the rules forbid: the packager's own approval."""
    home = tmp_path / "home"
    shutil.copytree(town.folder, home)
    key, last = load_or_create(home / "keys"), town.events[-1]
    approval = next(event for event in town.events if event.kind == "approval.given")
    mine = approval.body.replace('"by":"bob"', '"by":"ann"')
    generation = 1 + sum(event.subject == approval.subject for event in town.events)
    forged = msgspec.structs.replace(
        approval, actor="ann", body=mine, seq=last.seq + 1, generation=generation, previous=last.hash
    )
    store = SqliteStore.open(home / "registry.db")
    store.append(last.seq, lambda news: seal(forged, key))
    store.close()
    found = verify(home, [town.key])
    assert [(problem.seq, problem.field) for problem in found.problems] == [(last.seq + 1, "body")]


def test_a_whole_home_put_back_is_found_by_a_head_kept_outside(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "home")
    admin = registry.identity_of(registry.local_token())
    registry.close()
    shutil.copytree(tmp_path / "home", tmp_path / "yesterday")
    registry = Registry.open(tmp_path / "home")
    put(registry, "version.registered", version(author="admin"), by=admin)
    head, key = registry.head(), registry.public_key
    registry.close()
    assert verify(tmp_path / "yesterday", [key]).ok, "from inside, nothing is wrong with it"
    found = verify(tmp_path / "yesterday", [key], head=head)
    assert [problem.seq for problem in found.problems] == [head.seq]
    other = Registry.open(tmp_path / "yesterday")
    put(other, "version.registered", version(model="n", author="admin"), by=admin)
    other.close()
    found = verify(tmp_path / "yesterday", [key], head=head)
    assert [(problem.seq, problem.field) for problem in found.problems if problem.seq] == [(head.seq, "hash")]


def test_a_head_that_was_changed_is_no_head(copy: Copy, tmp_path: Path) -> None:
    data = (copy.folder / "head.json").read_bytes()
    for place in range(0, len(data), 3):
        (copy.folder / "head.json").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert not copy.verify().ok, f"byte {place}"
    (copy.folder / "head.json").unlink()
    assert [problem.file for problem in copy.verify().problems] == ["head.json"]
    copy.fresh()
    forged = sign_head(3, "0" * 64, 0.0, key=load_or_create(tmp_path / "thief"))
    assert not copy.verify(head=forged).ok


def stored(folder: Path) -> list[Event]:
    store = SqliteStore.open(folder / "registry.db", read_only=True)
    try:
        return store.read(0, 10_000)
    finally:
        store.close()


def flips(size: int, count: int) -> Iterator[tuple[int, int]]:
    chance = random.Random(SEED)
    for _ in range(count):
        yield chance.randrange(size), 1 << chance.randrange(8)


def test_a_flipped_bit_of_the_file_is_found_or_changed_nothing(copy: Copy) -> None:
    """Free space in the file may change; what the events say may not, and nothing may crash."""
    data = (copy.folder / "registry.db").read_bytes()
    found = 0
    for place, bit in flips(len(data), 150):
        copy.fresh()
        (copy.folder / "registry.db").write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        if copy.verify().ok:
            assert stored(copy.folder) == copy.town.events
        else:
            found += 1
    assert found > 50


def test_a_flipped_bit_of_the_write_ahead_log_is_found(town: Town, tmp_path: Path) -> None:
    """SQLite drops the log from the first bad frame on, silently; the signed head misses what was dropped."""
    registry = Registry.open(tmp_path / "home")
    events = registry.events()
    assert (tmp_path / "home" / "registry.db-wal").stat().st_size > 0
    shutil.copytree(tmp_path / "home", tmp_path / "kept")
    key = registry.public_key
    registry.close()
    data = (tmp_path / "kept" / "registry.db-wal").read_bytes()
    for place, bit in flips(len(data), 40):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(tmp_path / "kept", tmp_path / "copy")
        (tmp_path / "copy" / "registry.db-shm").unlink()
        broken = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        (tmp_path / "copy" / "registry.db-wal").write_bytes(broken)
        if verify(tmp_path / "copy", [key], packages=False).ok:
            assert stored(tmp_path / "copy") == events


def test_any_changed_byte_of_a_package_or_report_is_found_and_the_file_named(town: Town, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(town.folder, home)
    files = [path for kind in ("packages", "reports") for path in (home / kind).rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"manifest.json", "model.onnx", "signature.json"}
    chance = random.Random(SEED)
    for path in files:
        name, data = str(path.relative_to(home)), path.read_bytes()
        path.chmod(0o600)
        for place in [0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(6))]:
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :])
            assert [problem.file for problem in verify(home, [town.key]).problems] == [name], f"byte {place}"
        path.unlink()
        assert any(name.startswith(problem.file) for problem in verify(home, [town.key]).problems)
        path.write_bytes(data)
    assert verify(home, [town.key]).ok
    package = next((home / "packages").iterdir())
    (package / "more.txt").write_text("x")
    assert [p.file for p in verify(home, [town.key]).problems] == [f"packages/{package.name}/more.txt"]
    shutil.rmtree(package)
    assert [p.file for p in verify(home, [town.key]).problems] == [f"packages/{package.name}"]
