"""A registry is believed nothing: what is pulled is what a trusted key signed, or nothing is kept and none written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_for_tests import SmallHandler, SmallRegistry, add_version, digest_of, home_with_a_version
from penstock.app import pulling, pushing
from penstock.app.app import App
from penstock.app.identities import give_token
from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.app.pushing import push
from penstock.errors import BadConfig, Conflict, Forbidden, InvalidInput, NotFound, NotReady, PenstockError, Untrusted
from penstock.packages.keyring import TRUSTED, KeyRing
from penstock.packages.keys import new_package_key
from penstock.registry import modelpack, oci_wire

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> App:
    return home_with_a_version(tmp_path_factory.mktemp("ours") / "home")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci_wire, "_MAX_WAIT_S", 0.01)


@pytest.fixture
def registry(ours: App) -> Iterator[SmallRegistry]:
    with SmallRegistry() as small:
        push(ours, "linear@1", f"oci://{small.place}/r")
        small.asked.clear()
        yield small


@pytest.fixture
def theirs(tmp_path: Path) -> App:
    return open_app(tmp_path / "theirs")


def key_of(app: App) -> Path:
    return app.home / "keys" / "package.pub"


def layer(manifest: Manifest, name: str) -> Manifest:
    return next(one for one in manifest["layers"] if one["annotations"]["org.cncf.model.filepath"] == name)


def rename(manifest: Manifest, name: str, to: str) -> None:
    layer(manifest, name)["annotations"]["org.cncf.model.filepath"] = to


def more(manifest: Manifest, name: str) -> None:
    manifest["layers"].append(
        manifest["layers"][0] | {"annotations": {"org.cncf.model.filepath": name}},
    )


def emptied(manifest: Manifest, name: str) -> None:
    layer(manifest, name).update(digest=digest_of(b""), size=0)


SPOILS: dict[str, Callable[[Manifest], object]] = {
    "climbs": lambda m: rename(m, "manifest.json", "../manifest.json"),
    "absolute": lambda m: more(m, "/etc/cron.d/x"),
    "hidden": lambda m: more(m, ".bashrc"),
    "dots inside": lambda m: more(m, "a/../../x"),
    "backslash": lambda m: more(m, "a\\..\\x"),
    "nul": lambda m: more(m, "a\0b"),
    "no name": lambda m: m["layers"][0].pop("annotations"),
    "twice": lambda m: m["layers"].append(m["layers"][0]),
    "case twice": lambda m: more(m, "MANIFEST.json"),
    "file as folder": lambda m: more(m, "manifest.json/x"),
    "one more": lambda m: more(m, "more.bin"),
    "one less": lambda m: m["layers"].remove(next(one for one in m["layers"] if "weight.v1" in one["mediaType"])),
    "no manifest": lambda m: m["layers"].remove(layer(m, "manifest.json")),
    "no signature": lambda m: m["layers"].remove(layer(m, "signature.json")),
    "empty signature": lambda m: emptied(m, "signature.json"),
    "empty manifest": lambda m: emptied(m, "manifest.json"),
    "a tar": lambda m: m["layers"][0].update(mediaType="application/vnd.cncf.model.weight.v1.tar"),
    "too many": lambda m: [more(m, f"f{n}") for n in range(modelpack.MAX_LAYERS)],
    "too large": lambda m: [one.update(size=modelpack.MAX_BYTES) for one in m["layers"]],
    "larger than any": lambda m: m["layers"][0].update(size=modelpack.MAX_BYTES + 1),
    "less than nothing": lambda m: m["layers"][0].update(size=-1),
    "size of another type": lambda m: m["layers"][0].update(size="1"),
    "large manifest": lambda m: layer(m, "manifest.json").update(size=5 << 20),
    "large configuration": lambda m: m["config"].update(size=2 << 20),
    "wrong size": lambda m: [one.update(size=one["size"] + 1) for one in m["layers"]],
    "no digest": lambda m: m["layers"][0].update(digest="sha512:00"),
    "path as digest": lambda m: m["layers"][0].update(digest="../../../v2/other/blobs/" + digest_of(b"")),
    "other package claimed": lambda m: m["annotations"].update({"penstock.package.digest": digest_of(b"")}),
    "an image": lambda m: m.update(artifactType="application/vnd.oci.image.config.v1+json"),
    "no artifact type": lambda m: m.pop("artifactType"),
    "other configuration": lambda m: m["config"].update(mediaType="application/vnd.oci.image.config.v1+json"),
    "an index": lambda m: m.update(mediaType="application/vnd.oci.image.index.v1+json", manifests=m.pop("layers")),
    "version one": lambda m: m.update(schemaVersion=1),
}


@pytest.mark.parametrize("how", SPOILS)
def test_a_spoiled_artifact_is_refused_before_anything_large(
    registry: SmallRegistry, ours: App, theirs: App, tmp_path: Path, how: str
) -> None:
    manifest = registry.manifest()
    SPOILS[how](manifest)
    registry.put(b"")
    registry.named(manifest)
    refused(theirs, f"oci://{registry.place}/r:1", key_of(ours), Untrusted)
    package = ours.open_package(ours.resolve("linear@1").version.digest)
    assert not any(package.manifest.files[package.manifest.entry].sha256 in one.path for one in registry.asked)


def _entry(app: App) -> str:
    return app.open_package(app.resolve("linear@1").version.digest).manifest.entry


def refused(app: App, source: str, key: Path, kind: type[PenstockError]) -> PenstockError:
    """Nothing is kept, trusted or written down."""
    before = app.registry.events()
    with pytest.raises(kind) as caught:
        pull(app, source, trust=key)
    assert app.registry.events() == before
    assert os.listdir(app.home / "packages") == []
    assert list(KeyRing(app.home / "keys" / TRUSTED)) == [app.package_key.public_key()]
    return caught.value


@pytest.mark.parametrize("part", ["model", "manifest", "signature", "config"])
@pytest.mark.parametrize("how", ["changed", "longer", "shorter", "gone", "failing"])
def test_a_blob_that_does_not_hold_is_refused(
    registry: SmallRegistry, ours: App, theirs: App, part: str, how: str
) -> None:
    manifest = registry.manifest()
    names = {"model": _entry(ours), "manifest": "manifest.json", "signature": "signature.json"}
    digest = manifest["config"]["digest"] if part == "config" else layer(manifest, names[part])["digest"]  # type: ignore[index]
    data = registry.blobs[digest]
    if how == "failing":
        registry.before = lambda handler: digest in handler.path and handler.answer(500)
    elif how == "gone":
        del registry.blobs[digest]
    else:
        spoiled = {"changed": data[:-1] + bytes([data[-1] ^ 1]), "longer": data + b" ", "shorter": data[:-1]}
        registry.blobs[digest] = spoiled[how]
    kind = {"gone": NotFound, "failing": NotReady}.get(how, Untrusted)
    refused(theirs, f"oci://{registry.place}/r:1", key_of(ours), kind)


def test_unknown_keys_are_refused_and_told_how_they_become_known(
    registry: SmallRegistry, ours: App, theirs: App, tmp_path: Path
) -> None:
    other = tmp_path / "other.pub"
    other.write_bytes(new_package_key().public_key().pem)
    error = refused(theirs, f"oci://{registry.place}/r:1", other, Untrusted)
    assert "--trust" in error.hint
    other.write_text("no key")
    refused(theirs, f"oci://{registry.place}/r:1", other, BadConfig)


def test_a_key_is_trusted_by_an_administrator_once_and_for_all(
    registry: SmallRegistry, ours: App, theirs: App, tmp_path: Path
) -> None:
    there = f"oci://{registry.place}/r:1"
    operator = open_app(theirs.home, token=give_token(theirs, "otto", ("operator",)))
    with pytest.raises(Forbidden):
        pull(operator, there, trust=key_of(ours))
    viewer = open_app(theirs.home, token=give_token(theirs, "vera", ("viewer",)))
    with pytest.raises(Forbidden):
        pull(viewer, there)
    assert registry.asked == []
    ring = KeyRing(theirs.home / "keys" / TRUSTED)
    assert len(ring) == 1
    assert pull(theirs, there, trust=key_of(ours)).ref == "linear@1"
    assert list(ring) == [theirs.package_key.public_key(), ours.package_key.public_key()], "read again by itself"

    number = len(ours.state().models["linear"].versions) + 1
    add_version(ours, tmp_path / "next", bias=float(number), number=number)
    push(ours, "linear", f"oci://{registry.place}/r:next")
    pulled = pull(operator, f"oci://{registry.place}/r:next")
    assert (pulled.ref, pulled.news) == ("linear@2", True)
    assert theirs.resolve("linear@2").version.author == "otto"
    assert open_app(theirs.home).open_package(pulled.digest).digest == pulled.digest
    assert len(theirs.registry.events(kind="key.added")) == 2


def test_a_dry_run_judges_and_keeps_nothing(registry: SmallRegistry, ours: App, theirs: App) -> None:
    before = theirs.registry.events()
    said = pull(theirs, f"oci://{registry.place}/r:1", trust=key_of(ours), dry_run=True)
    assert (said.ref, said.news, said.moved) == ("", True, said.files)
    assert theirs.registry.events() == before
    assert os.listdir(theirs.home / "packages") == []
    assert len([one for one in registry.asked if "/blobs/" in one.path]) == 2, "manifest and signature"


def test_a_killed_pull_is_ended_by_the_next(
    registry: SmallRegistry, ours: App, theirs: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    there = f"oci://{registry.place}/r:1"
    with monkeypatch.context() as patched:
        patched.setattr(pulling, "record_transfer", die)
        with pytest.raises(KeyboardInterrupt):
            pull(theirs, there, trust=key_of(ours))
    assert theirs.registry.events(kind="package.pulled") == []
    again = pull(theirs, there)
    assert (again.ref, again.news) == ("linear@1", False)
    assert len(theirs.registry.events(kind="package.pulled")) == 1


def test_a_killed_push_names_nothing_and_repeats_nothing(ours: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallRegistry() as small:
        puts: list[str] = []

        def third_fails(handler: SmallHandler) -> bool:
            if handler.command == "PUT" and "digest" in handler.path:
                puts.append(handler.path)
                return len(puts) > 2 and handler.answer(403)
            return False

        small.before = third_fails
        with pytest.raises(Forbidden):
            push(ours, "linear@1", f"oci://{small.place}/r")
        assert small.manifests == {}
        assert len(small.blobs) == 2
        events = len(ours.registry.events(kind="package.pushed"))
        small.before = lambda handler: False
        small.asked.clear()
        made = push(ours, "linear@1", f"oci://{small.place}/r")
        assert (made.moved, small.methods("uploads").count("PUT")) == (2, 3), "two files and the configuration"
        assert len(ours.registry.events(kind="package.pushed")) == events + 1


def test_a_push_that_was_killed_before_its_event_is_on_record_after_the_next(
    ours: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with SmallRegistry() as small:
        there = f"oci://{small.place}/r:1"
        with monkeypatch.context() as patched:
            patched.setattr(pushing, "record_transfer", die)
            with pytest.raises(KeyboardInterrupt):
                push(ours, "linear@1", there)
        assert not push(ours, "linear@1", there, dry_run=True).news
        events = len(ours.registry.events(kind="package.pushed"))
        assert not push(ours, "linear@1", there).news
        assert len(ours.registry.events(kind="package.pushed")) == events + 1


def test_words_that_do_not_fit_are_refused(registry: SmallRegistry, ours: App, theirs: App) -> None:
    digest = digest_of(registry.manifests["1"])
    with pytest.raises(InvalidInput, match="digest follows"):
        push(ours, "linear", f"oci://{registry.place}/r@{digest}")
    with pytest.raises(InvalidInput, match="two things"):
        pull(theirs, f"oci://{registry.place}/r:1@{digest}")
    with pytest.raises(NotFound):
        pull(theirs, f"oci://{registry.place}/r")
    with pytest.raises(NotFound):
        push(ours, "nothing", f"oci://{registry.place}/r")
    registry.named(json.loads(b"{}"), "taken")
    with pytest.raises(Conflict):
        push(ours, "linear@1", f"oci://{registry.place}/r:taken")
