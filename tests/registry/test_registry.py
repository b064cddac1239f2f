"""The registry's promises: who may write what, one winner, and everything that was written is there."""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from chain_for_tests import DIGEST, put, version, write_history
from penstock.access.identities import Identity
from penstock.access.permissions import PERMISSIONS
from penstock.access.tokens import token_sha256
from penstock.errors import BadConfig, Conflict, Corrupt, Forbidden, InvalidInput, NotFound, Untrusted
from penstock.records import Dataset, Event, IdentityRecord
from penstock.registry.events import KINDS
from penstock.registry.grants import grants
from penstock.registry.registry import Registry
from penstock.registry.verify import verify

Who = dict[str, Identity]


def test_a_new_home_is_private_and_has_an_administrator(registry: Registry) -> None:
    home = registry.home
    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert home.token.stat().st_mode & 0o777 == 0o600
    assert home.database.stat().st_mode & 0o777 == 0o600
    admin = registry.identity_of(registry.local_token())
    assert (admin.name, admin.permissions()) == ("admin", frozenset(PERMISSIONS))
    assert registry.local_token() not in "".join(event.body for event in registry.events())


def test_opening_again_changes_nothing(registry: Registry) -> None:
    before = registry.events()
    again = Registry.open(registry.home.folder)
    assert again.events() == before
    assert again.local_token() == registry.local_token()
    again.close()


def test_a_lost_token_file_is_made_anew(registry: Registry) -> None:
    registry.home.token.unlink()
    again = Registry.open(registry.home.folder)
    assert again.identity_of(again.local_token()).name == "admin"
    again.close()


def test_something_else_in_the_homes_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("x")
    with pytest.raises(BadConfig):
        Registry.open(tmp_path / "home")


def test_an_event_says_who_what_and_when(registry: Registry, who: Who) -> None:
    event = put(registry, "version.registered", version(), by=who["ann"], expect=0)
    assert (event.actor, event.kind, event.subject, event.generation) == ("ann", "version.registered", "model/m", 1)
    assert event.time == 1000.0
    assert registry.events()[-1] == event
    assert registry.events(event.seq - 1, kind="version.registered", subject="model/m") == [event]
    assert registry.events(kind="version.registered", subject="model/x") == []
    assert registry.events(limit=2) == registry.events()[:2]


def test_every_kind_goes_in_comes_back_and_verifies(registry: Registry, tmp_path: Path) -> None:
    write_history(registry, tmp_path / "package")
    assert {event.kind for event in registry.events()} == set(KINDS)
    again = Registry.open(registry.home.folder)
    assert again.state() == registry.state()
    again.close()
    found = verify(registry.home.folder, [registry.public_key], head=registry.head())
    assert found.ok, found.problems
    assert (found.events, found.packages) == (registry.state().seq, 1)


def test_the_loser_of_a_race_gets_a_conflict_that_tells_the_generation(registry: Registry, who: Who) -> None:
    put(registry, "version.registered", version(), by=who["ann"], expect=0)
    with pytest.raises(Conflict, match="generation is 1 now"):
        put(registry, "version.registered", version(2), by=who["ann"], expect=0)
    put(registry, "version.registered", version(2), by=who["ann"], expect=1)


def test_what_another_process_wrote_is_seen(registry: Registry, who: Who) -> None:
    other = Registry.open(registry.home.folder)
    put(other, "version.registered", version(), by=who["ann"])
    assert registry.state().resolve("m").version == version()
    put(registry, "version.registered", version(2), by=who["ann"], expect=1)
    put(other, "version.registered", version(3), by=who["ann"], expect=2)
    assert other.state() == registry.state()
    other.close()


def test_nobody_without_the_permission_writes_any_kind(registry: Registry, who: Who, tmp_path: Path) -> None:
    write_history(registry, tmp_path / "package")
    written = {event.kind: event for event in registry.events()}
    before = registry.state().seq
    for kind, entry in KINDS.items():
        record = msgspec.json.decode(written[kind].body, type=entry.record)
        others = tuple(set(PERMISSIONS) - {entry.permission})
        for nobody in (
            who["eve"],
            Identity(name="admin", roles=("admin",), narrowed=others),
            Identity(name="stranger", roles=("admin",)),
            Identity(name="eve", roles=("admin",)),
        ):
            with pytest.raises(Forbidden):
                registry.append(kind, written[kind].subject, record, by=nobody)
    assert registry.state().seq == before


def test_an_endpoints_token_is_good_there_only(registry: Registry, who: Who, tmp_path: Path) -> None:
    write_history(registry, tmp_path / "package")
    token = registry.issue_token("ann", by=who["root"], endpoints=("other",))
    step = registry.events(kind="release.stepped")[0]
    record = msgspec.json.decode(step.body, type=KINDS["release.stepped"].record)
    with pytest.raises(Forbidden, match="on this endpoint"):
        put(registry, "release.stepped", record, by=registry.identity_of(token))


def test_tokens_name_narrow_expire_and_are_revoked(registry: Registry, who: Who, clock: object) -> None:
    token = registry.issue_token("ann", by=who["root"], permissions=("predict",), endpoints=("e",), expires_at=1010.0)
    ann = registry.identity_of(token)
    assert (ann.name, ann.permissions(), ann.endpoints) == ("ann", {"predict"}, ("e",))
    clock.now = 1010.0  # type: ignore[attr-defined]
    with pytest.raises(Forbidden):
        registry.identity_of(token)
    second = registry.issue_token("ann", by=who["root"])
    registry.revoke(token_sha256(second), by=who["root"])
    for bad in (second, "", "pst_x", "pst_\udc80", token + "x"):
        with pytest.raises(Forbidden) as caught:
            registry.identity_of(bad)
        assert caught.value.code == "access.token"
    with pytest.raises(NotFound):
        registry.revoke(token_sha256(second), by=who["root"])


def test_who_loses_a_role_loses_it_in_every_token(registry: Registry, who: Who) -> None:
    token = registry.issue_token("ann", by=who["root"])
    registry.add_identity("ann", (), by=who["root"])
    assert registry.identity_of(token).permissions() == frozenset()
    with pytest.raises(Forbidden):
        put(registry, "version.registered", version(), by=who["ann"])


def test_the_snapshot_gets_every_valid_token_and_no_other(registry: Registry, who: Who, clock: object) -> None:
    kept = registry.issue_token("eve", by=who["root"], expires_at=2000.0)
    gone = registry.issue_token("eve", by=who["root"])
    registry.revoke(token_sha256(gone), by=who["root"])
    made = grants(registry.state(), 1000.0)
    hashes = {grant.token_sha256 for grant in made}
    assert token_sha256(kept) in hashes
    assert token_sha256(gone) not in hashes
    assert {grant.subject for grant in made} == {"admin", "eve"}
    assert {grant.subject for grant in grants(registry.state(), 2000.0)} == {"admin"}


@pytest.mark.parametrize(
    ("kind", "subject", "record", "error"),
    [
        ("no.such", "model/m", version(), NotFound),
        ("version.registered", "model/n", version(), InvalidInput),
        ("version.registered", "model/m", Dataset(name="m", digest=DIGEST, rows=1), InvalidInput),
        ("version.registered", "model/../m", version(model="../m"), InvalidInput),
        ("version.registered", "model/m/n", version(model="m/n"), InvalidInput),
        ("version.registered", "model/" + "m" * 65, version(model="m" * 65), InvalidInput),
        ("version.registered", "model/m\n", version(model="m\n"), InvalidInput),
        ("version.registered", "model/m@1", version(model="m@1"), InvalidInput),
        ("identity.added", "identity/", IdentityRecord(name=""), InvalidInput),
    ],
)
def test_what_does_not_fit_is_refused_and_not_echoed(
    registry: Registry, who: Who, kind: str, subject: str, record: object, error: type[Exception]
) -> None:
    before = registry.state().seq
    with pytest.raises(error) as caught:
        registry.append(kind, subject, record, by=who["root"])  # type: ignore[arg-type]
    assert subject not in str(caught.value)
    assert registry.state().seq == before


def test_a_number_that_json_cannot_hold_is_refused(registry: Registry, who: Who) -> None:
    broken = msgspec.structs.replace(version(), created_at=float("nan"))
    with pytest.raises(InvalidInput):
        put(registry, "version.registered", broken, by=who["ann"])


def test_a_changed_event_stops_the_reader_and_is_named(registry: Registry, who: Who) -> None:
    with sqlite3.connect(registry.home.database) as connection:
        connection.execute("UPDATE events SET actor = 'eve' WHERE seq = 3")
    with pytest.raises(Corrupt) as caught:
        Registry.open(registry.home.folder)
    assert caught.value.where.startswith("events[3]")


def test_a_store_put_back_is_refused(registry: Registry, who: Who, tmp_path: Path) -> None:
    with sqlite3.connect(registry.home.database) as connection:
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
    with pytest.raises(Corrupt, match="signed head"):
        Registry.open(registry.home.folder)


def test_a_newer_store_is_refused_and_left_alone(registry: Registry) -> None:
    registry.close()
    with sqlite3.connect(registry.home.database) as connection:
        connection.execute("UPDATE format SET number = 99")
    connection.close()
    before = registry.home.database.read_bytes()
    with pytest.raises(BadConfig, match="99"):
        Registry.open(registry.home.folder)
    assert registry.home.database.read_bytes() == before


def test_threads_share_one_registry(registry: Registry, who: Who) -> None:
    def add(n: int) -> Event:
        return put(registry, "dataset.registered", Dataset(name=f"d{n % 3}", digest=DIGEST, rows=n), by=who["ann"])

    before = registry.state().seq
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(add, range(40)))
    assert sorted(event.seq for event in written) == list(range(before + 1, before + 41))
    assert verify(registry.home.folder).ok


def test_a_private_key_others_can_read_stops_the_start(registry: Registry) -> None:
    os.chmod(registry.home.keys / "signing.key", 0o600 | stat.S_IRGRP)
    with pytest.raises(Untrusted):
        Registry.open(registry.home.folder)
