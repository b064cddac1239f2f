"""Keys of a home: rotated, revoked, removed; who signed decides at register, release, load and pull."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chain_for_tests import verdict
from oci_for_tests import SmallRegistry, add_version, home_with_a_version
from packages_for_tests import linear_package
from penstock.app.app import App
from penstock.app.exporting import export_version
from penstock.app.identities import give_token
from penstock.app.keys import list_keys, remove_key, resign, revoke_key, rotate_key, trust_key
from penstock.app.loop import ControlLoop
from penstock.app.opening import open_app
from penstock.app.policies import policy_of
from penstock.app.pulling import pull
from penstock.app.pushing import push
from penstock.app.releasing import release, rollback
from penstock.app.watching import status
from penstock.build.sign import sign_folder
from penstock.commands import key
from penstock.commands.verb import run_verb
from penstock.errors import Conflict, Forbidden, InvalidInput, NotFound, Untrusted
from penstock.packages.keyring import REVOKED, TRUSTED, KeyRing
from penstock.packages.keys import NEXT, PRIVATE, PrivateKey, new_package_key
from penstock.packages.publickey import PUBLIC, load_public_key
from penstock.packages.signature import REVOKED_SIGNER, UNKNOWN_SIGNER
from penstock.registry.bootstrap import PACKAGES
from penstock.registry.trust import keep_package
from penstock.registry.verify import verify


@pytest.fixture
def app(tmp_path: Path) -> App:
    return home_with_a_version(tmp_path / "home")


def hint_of(app: App) -> str:
    return app.package_key.public_key().hint


def ring(app: App) -> KeyRing:
    return KeyRing(app.home / "keys" / TRUSTED)


def stranger(folder: Path) -> tuple[PrivateKey, Path]:
    key, place = new_package_key(), folder / "stranger.pub"
    place.write_bytes(key.public_key().pem)
    return key, place


def foreign_version(app: App, folder: Path, key: PrivateKey) -> str:
    """``theirs@1``, signed by somebody else's key."""
    linear_package(folder, bias=3.0, name="theirs")
    sign_folder(folder, key)
    package = keep_package(folder, app.registry.packages, app.state())
    record = app.resolve("linear@1").version
    record = type(record)(model="theirs", version=1, digest=package.digest, author="admin", created_at=1.0)
    app.registry.append("version.registered", "model/theirs", record, by=app.identity)
    return package.digest


def judged(app: App, ref: str) -> None:
    one = app.resolve(ref).version
    given = replace(verdict(one.version, model=one.model, digest=one.digest), policy=policy_of(app).digest)
    app.registry.append("verdict.given", f"model/{one.model}", given, by=app.identity)


def test_a_new_key_signs_what_comes_and_the_old_one_vouches_for_what_was(app: App, tmp_path: Path) -> None:
    old, private = hint_of(app), (app.home / "keys" / PRIVATE).read_bytes()
    change = rotate_key(app, reason="once a year")
    assert change.key.standing == "retired"
    assert change.rotated == hint_of(app) != old
    assert load_public_key(app.home / "keys" / PUBLIC).hint == hint_of(app)
    assert private not in [one.read_bytes() for one in (app.home / "keys").iterdir()], "the old private key is gone"
    assert not (app.home / "keys" / NEXT).exists()
    add_version(app, tmp_path / "next", bias=1.0, number=2)
    assert {one.hint: (one.standing, one.versions) for one in list_keys(app)} == {
        old: ("retired", ("linear@1",)),
        hint_of(app): ("signs", ("linear@2",)),
    }
    again = open_app(app.home)
    for ref in ("linear@1", "linear@2"):
        assert again.open_package(again.resolve(ref).version.digest).manifest.name == "linear"
    assert {one.hint for one in ring(app)} == {old, hint_of(app)}
    assert verify(app.home).ok
    assert [json.loads(one.body).get("reason") for one in app.registry.events(kind="key.added")] == [
        None,
        "once a year",
    ]


def test_a_retired_key_vouches_for_nothing_new(app: App, tmp_path: Path) -> None:
    old = app.package_key
    rotate_key(app)
    linear_package(tmp_path / "late", bias=9.0)
    sign_folder(tmp_path / "late", old)
    with pytest.raises(Untrusted) as refusal:
        keep_package(tmp_path / "late", app.registry.packages, app.state())
    assert refusal.value.code == UNKNOWN_SIGNER


def test_a_revoked_key_is_refused_at_every_door(app: App, tmp_path: Path) -> None:
    key, public = stranger(tmp_path)
    trust_key(app, public)
    digest = foreign_version(app, tmp_path / "theirs", key)
    judged(app, "theirs@1")
    release(app, "theirs@1")
    told = revoke_key(app, key.public_key().hint[:8], reason="their laptop was stolen", at=5.0, dry_run=True)
    assert (told.key.standing, told.key.versions) == ("revoked", ("theirs@1",))
    assert app.open_package(digest), "a dry run changes nothing"
    revoke_key(app, str(public), reason="their laptop was stolen", at=5.0)
    (line,) = [one for one in list_keys(app) if one.hint == key.public_key().hint]
    assert (line.standing, line.reason, line.at) == ("revoked", "their laptop was stolen", 5.0)

    linear_package(tmp_path / "more", bias=4.0, name="theirs")
    sign_folder(tmp_path / "more", key)
    doors = {
        "open": lambda: app.open_package(digest),
        "register": lambda: keep_package(tmp_path / "more", app.registry.packages, app.state()),
        "release": lambda: release(app, "theirs@1"),
        "roll back": lambda: rollback(app, "theirs", to=1),
        "export": lambda: export_version(app, "theirs@1", "azureml", tmp_path / "out"),
        "push": lambda: push(app, "theirs@1", "oci://127.0.0.1:1/r"),
    }
    for name, door in doors.items():
        with pytest.raises(Untrusted) as refusal:
            door()
        assert refusal.value.code == REVOKED_SIGNER, name
        assert "their laptop was stolen" in refusal.value.message
    with pytest.raises(Conflict) as conflict:
        trust_key(app, public)
    assert conflict.value.code == "keys.revoked"
    assert key.public_key() not in ring(app)
    found = verify(app.home)
    assert found.ok, "the past is as it was written"
    assert found.distrusted == (f"packages/{digest.removeprefix('sha256:')}",)


def test_a_key_that_is_lost_is_replaced_and_good_packages_are_signed_anew(app: App) -> None:
    lost, digest = hint_of(app), app.resolve("linear@1").version.digest
    change = revoke_key(app, lost, reason="on a stolen disk")
    assert change.rotated == hint_of(app) != lost
    with pytest.raises(Untrusted) as refusal:
        app.open_package(digest)
    assert refusal.value.code == REVOKED_SIGNER
    with pytest.raises(InvalidInput):
        resign(app, "linear@1", reason=" ")
    assert resign(app, "linear@1", reason="built before the theft", dry_run=True).signer == hint_of(app)
    assert app.registry.events(kind="package.resigned") == []
    resign(app, "linear@1", reason="built before the theft")
    assert app.open_package(digest).digest == digest, "the package is the same, its signer another"
    again = open_app(app.home)
    assert again.open_package(digest).digest == digest
    assert (verify(app.home).ok, verify(app.home).distrusted) == (True, ())
    assert sorted(os.listdir(app.home / "packages")) == [digest.removeprefix("sha256:")]


def test_nothing_that_was_changed_is_signed_anew(app: App) -> None:
    digest = app.resolve("linear@1").version.digest
    place = app.registry.packages.path(digest)
    revoke_key(app, hint_of(app), reason="stolen")
    for name in ("model/model.onnx", "golden.json", "manifest.json"):
        file, kept = place / name, (place / name).read_bytes()
        file.chmod(0o600)
        file.write_bytes(kept[:-2] + bytes([kept[-2] ^ 1]) + kept[-1:])
        with pytest.raises(Untrusted) as refusal:
            resign(app, "linear@1", reason="looks good")
        assert refusal.value.where == name
        file.write_bytes(kept)
    assert app.registry.events(kind="package.resigned") == []


def test_a_key_that_is_removed_may_come_back(app: App, tmp_path: Path) -> None:
    key, public = stranger(tmp_path)
    trust_key(app, public)
    digest = foreign_version(app, tmp_path / "theirs", key)
    remove_key(app, str(public), reason="we part")
    with pytest.raises(Untrusted) as refusal:
        app.open_package(digest)
    assert refusal.value.code == UNKNOWN_SIGNER
    assert len(ring(app)) == 1
    found = verify(app.home)
    assert found.ok
    assert len(found.distrusted) == 1
    trust_key(app, public)
    assert app.open_package(digest).digest == digest
    with pytest.raises(Conflict):
        remove_key(app, hint_of(app))
    with pytest.raises(NotFound):
        remove_key(app, "0" * 16)


def test_only_an_administrator_decides_and_everybody_who_reads_may_look(app: App, tmp_path: Path) -> None:
    _, public = stranger(tmp_path)
    operator = open_app(app.home, token=give_token(app, "otto", ("operator", "approver")))
    before = app.registry.events()
    acts = (
        lambda: rotate_key(operator),
        lambda: trust_key(operator, public),
        lambda: revoke_key(operator, hint_of(app), reason="no"),
        lambda: remove_key(operator, hint_of(app)),
        lambda: resign(operator, "linear@1", reason="no"),
    )
    for act in acts:
        with pytest.raises(Forbidden):
            act()
    assert app.registry.events() == before
    assert len(list_keys(operator)) == 1


def test_pull_refuses_a_revoked_key_and_takes_a_new_signature(tmp_path: Path) -> None:
    ours, theirs = home_with_a_version(tmp_path / "ours"), open_app(tmp_path / "theirs")
    public = tmp_path / "ours.pub"
    public.write_bytes((ours.home / "keys" / PUBLIC).read_bytes())
    with SmallRegistry() as small:
        there = f"oci://{small.place}/r:1"
        push(ours, "linear@1", there)
        pulled = pull(theirs, there, trust=public)
        revoke_key(theirs, str(public), reason="ours told us")
        for trust in (None, public):
            with pytest.raises(Untrusted) as refusal:
                pull(theirs, there, trust=trust)
            assert refusal.value.code == REVOKED_SIGNER
        with pytest.raises(Untrusted):
            theirs.open_package(pulled.digest)
        revoke_key(ours, str(public), reason="stolen")
        resign(ours, "linear@1", reason="built before")
        push(ours, "linear@1", there, replace=True)
        again = pull(theirs, there, trust=ours.home / "keys" / PUBLIC)
        assert (again.ref, again.digest, again.news) == ("linear@1", pulled.digest, False)
        assert theirs.open_package(pulled.digest).digest == pulled.digest


KILLED = """
import os, signal, sys
from pathlib import Path
from penstock.app.keys import revoke_key, rotate_key
from penstock.app.opening import open_app
app = open_app(Path(sys.argv[1]))
places = [0]
def watch(event, arguments):
    if event in ("os.rename", "os.remove") and "keys" in str(arguments[0]):
        places[0] += 1
        if places[0] == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
hint = app.package_key.public_key().hint
sys.addaudithook(watch)
rotate_key(app) if sys.argv[2] == "rotate" else revoke_key(app, hint, reason="stolen")
"""


@pytest.mark.parametrize("act", ["rotate", "revoke"])
def test_killed_anywhere_it_is_done_or_not_begun_when_the_home_opens_again(tmp_path: Path, act: str) -> None:
    home_with_a_version(tmp_path / "home").registry.close()
    number, outcomes = 0, set()
    while True:
        number += 1
        home = tmp_path / f"home-{number}"
        shutil.copytree(tmp_path / "home", home)
        killed = subprocess.run([sys.executable, "-c", KILLED, home, act, str(number)], check=False)
        app = open_app(home)
        added = len(app.registry.events(kind="key.added"))
        signer = app.state().signer(PACKAGES)
        assert hint_of(app) == signer, "what signs is what the chain names"
        assert load_public_key(home / "keys" / PUBLIC).hint == signer
        assert sorted(os.listdir(home / "keys")) == [
            "lock", PRIVATE, PUBLIC, REVOKED, "signing.key", "signing.pub", "token", TRUSTED,
        ]  # fmt: skip
        trusted = {one.hint for one in app.state().keys[PACKAGES]}
        assert {one.hint for one in ring(app)} == trusted
        outcomes.add((added, len(app.state().revoked)))
        add_version(app, tmp_path / f"next-{number}", bias=1.0, number=2)
        assert verify(home).ok
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL
    assert number > 4
    assert outcomes == ({(1, 0), (2, 0)} if act == "rotate" else {(1, 0), (2, 0), (2, 1)})


def test_a_keys_folder_put_back_from_a_backup_brings_no_old_key_back(app: App, tmp_path: Path) -> None:
    for act in (lambda: rotate_key(app), lambda: revoke_key(app, hint_of(app), reason="stolen")):
        backup = tmp_path / "backup"
        shutil.copytree(app.home / "keys", backup)
        old = hint_of(app)
        act()
        shutil.rmtree(app.home / "keys")
        backup.rename(app.home / "keys")
        again = open_app(app.home)
        assert hint_of(again) == again.state().signer(PACKAGES) != old
        assert {one.hint for one in ring(again)} == {one.hint for one in again.state().keys[PACKAGES]}


def test_an_endpoint_that_lost_its_signer_goes_on_and_everybody_is_told(app: App) -> None:
    judged(app, "linear@1")
    made = release(app, "linear@1")
    loop = ControlLoop(dataclasses.replace(app, identity=app.registry.system()))
    try:
        for _ in range(600):
            loop.turn()
            if made.revision in app.state().endpoint("linear").settled:
                break
        assert app.state().endpoint("linear").settled[1].outcome == "live"
        revoke_key(app, hint_of(app), reason="stolen")
        loop.turn()
        (incident,) = app.state().endpoint("linear").open_incidents().values()
        assert (incident.cause, incident.severity) == ("signer", "page")
        assert "from memory" in incident.effect
        (line,) = status(app).endpoints
        assert line.distrusted == ("linear@1",)
        loop.turn()
        assert len(app.registry.events(kind="incident.opened")) == 1
        resign(app, "linear@1", reason="built before")
        loop.turn()
        assert app.state().endpoint("linear").open_incidents() == {}
        assert status(app).endpoints[0].distrusted == ()
        # Whoever revoked died before the files were written: the loop writes them.
        (app.home / "keys" / TRUSTED).write_bytes(b"")
        (app.home / "keys" / REVOKED).unlink()
        rotate_key(app)
        loop.turn()
        assert len(ring(app)) == 2
        assert len(ring(app).revoked) == 1
        # A control plane that starts now goes on with its turns, too.
        revoke_key(app, app.state().keys[PACKAGES][0].hint, reason="this one, too")
        other = ControlLoop(dataclasses.replace(app, identity=app.registry.system()))
        other.turn()
        other.stop()
        assert [one.cause for one in app.state().endpoint("linear").open_incidents().values()] == ["signer"]
    finally:
        loop.stop()
        loop.target.remove()


def test_the_verb_says_what_it_does_and_what_follows(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    def verb(*words: str) -> tuple[object, Any]:
        with pytest.raises(SystemExit) as ended:
            run_verb(key.run, "key", [*words, "--home", str(app.home), "--json"])
        said = capsys.readouterr()
        return ended.value.code or 0, json.loads(said.out or said.err)

    old = hint_of(app)
    code, told = verb("revoke", old[:16], "--reason", "stolen", "--dry-run")
    assert (code, told["dry_run"], told["key"]["versions"]) == (0, True, ["linear@1"])
    assert verb("revoke", old[:16])[0] == 1
    code, told = verb("revoke", old[:16], "--reason", "stolen")
    assert (code, told["key"]["standing"], told["rotated"]) == (0, "revoked", hint_of(app))
    code, told = verb("revoke", old[:16], "--reason", "stolen")
    assert (code, told["error"]) == (1, "registry.conflict")
    assert verb("resign", "linear@1", "--reason", "built before")[0] == 0
    code, told = verb("list")
    assert (code, [one["standing"] for one in told["keys"]]) == (0, ["signs", "revoked"])
    assert verb("trust", "nowhere.pub")[0] == 1
