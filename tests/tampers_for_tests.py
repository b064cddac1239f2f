"""Ways to tamper with a package, drawn from a seed: each changes what was signed, or who is to be believed."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from penstock.build.sign import sign_folder
from penstock.packages.digests import sha256_bytes
from penstock.packages.keys import PrivateKey

SIGNATURE, MANIFEST = "signature.json", "manifest.json"
BLIND_LINK = "a second name of the same bytes"
BLIND_GIT = "it leaves files of git's out by default"
BLIND_FOLDER = "it lists files alone"
BLIND_KEY = "a key is good or not by what its caller says"
BLIND_DIGEST = "it does not know which package was asked for"
BLIND_BUNDLE = "it passes over fields that it does not know"
BLIND_FORM = "it does not read the manifest"


class Ground(NamedTuple):
    """What a tamper works on.

    Attributes:
        folder: A fresh copy of the signed package.
        other: Another version of it, signed by the same key.
        scratch: A folder outside.
    """

    folder: Path
    other: Path
    scratch: Path
    key: PrivateKey
    chance: random.Random

    def names(self) -> list[str]:
        return sorted(p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file())

    def pick(self, *, signed: bool = False) -> Path:
        names = [name for name in self.names() if not signed or name != SIGNATURE]
        return self.folder / self.chance.choice(names)

    def word(self) -> str:
        return "".join(self.chance.choices("abcdefghijklmnopqrstuvwxyz0123456789_", k=self.chance.randint(1, 12)))


Act = Callable[[Ground], str]


class Tamper(NamedTuple):
    """One kind.

    Attributes:
        count: How many are drawn.
        act: Tampers; says where, for whoever reads a failure.
        blind: Why OpenSSF's tool cannot see it; empty where it has to.
    """

    name: str
    count: int
    act: Act
    blind: str = ""


def _rewrite(change: Callable[[bytes, random.Random], bytes]) -> Act:
    """A change of one file's bytes; of the signature's only where it is other JSON then."""

    def act(ground: Ground) -> str:
        while True:
            file = ground.pick()
            before = file.read_bytes()
            after = change(before, ground.chance)
            if after != before and not (file.name == SIGNATURE and _same_json(before, after)):
                file.write_bytes(after)
                return file.name

    return act


def _same_json(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def _flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.choice([1, 2, 16, 400])) + data[at:]


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice([1, 2, 16, 400]) :]


def _cut_off(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(min(32, len(data) - at)) + data[at + 32 :]


def _remove(ground: Ground) -> str:
    file = ground.pick()
    file.unlink()
    return file.name


def _add(ground: Ground) -> str:
    folder = ground.folder / ground.chance.choice(["", "model", ground.word(), "a/b/c"])
    folder.mkdir(parents=True, exist_ok=True)
    name = ground.word() + ground.chance.choice(["", ".py", ".so", ".json", " x", "é", ".", "\\x", ":x"])
    while (folder / name).exists():
        name += "0"
    (folder / name).write_bytes(ground.chance.randbytes(ground.chance.choice([0, 1, 400])))
    return name


def _add_git(ground: Ground) -> str:
    name = ground.chance.choice([".gitignore", ".gitattributes", ".git/hooks/x", ".github/y"])
    place = ground.folder / ground.chance.choice(["", "model"]) / name if "/" not in name else ground.folder / name
    if place.parent.name == "model":
        place = ground.folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"x")
    return name


def _add_folder(ground: Ground) -> str:
    name = ground.chance.choice([ground.word(), f"model/{ground.word()}", "a/b/c"])
    (ground.folder / name).mkdir(parents=True)
    return name


def _rename(ground: Ground) -> str:
    file = ground.pick()
    name = ground.chance.choice([f"{file.name}.old", file.name.upper(), f"{ground.word()}x{file.suffix}"])
    file.rename(file.with_name(name))
    return f"{file.name} -> {name}"


def _move(ground: Ground) -> str:
    file = ground.pick()
    place = ground.folder / (ground.word() if file.parent != ground.folder else "model/more")
    place.mkdir(parents=True, exist_ok=True)
    file.rename(place / file.name)
    return file.name


def _swap(ground: Ground) -> str:
    while True:
        one, two = ground.pick(), ground.pick()
        if one.read_bytes() != two.read_bytes():
            first, second = one.read_bytes(), two.read_bytes()
            one.write_bytes(second)
            two.write_bytes(first)
            return f"{one.name} <-> {two.name}"


def _copy_over(ground: Ground) -> str:
    while True:
        one, two = ground.pick(), ground.pick()
        if one.read_bytes() != two.read_bytes():
            shutil.copyfile(one, two)
            return f"{one.name} -> {two.name}"


def _link(ground: Ground) -> str:
    file = ground.pick()
    outside = ground.scratch / "outside"
    file.rename(outside)
    file.symlink_to(outside)
    return file.name


def _link_folder(ground: Ground) -> str:
    (ground.folder / "model").rename(ground.scratch / "model")
    (ground.folder / "model").symlink_to(ground.scratch / "model")
    return "model"


def _add_link(ground: Ground) -> str:
    name = ground.word()
    (ground.folder / name).symlink_to(ground.chance.choice(["/etc/hostname", "..", "manifest.json", "nowhere"]))
    return name


def _hard_link(ground: Ground) -> str:
    file = ground.pick()
    os.link(file, ground.scratch / "second")
    return file.name


def _special(ground: Ground) -> str:
    name = ground.word()
    if ground.chance.random() < 0.5:
        os.mkfifo(ground.folder / name)
    else:
        with socket.socket(socket.AF_UNIX) as wire:
            here = os.getcwd()
            os.chdir(ground.folder)  # a socket's path must be short
            try:
                wire.bind(name)
            finally:
                os.chdir(here)
    return name


def _file_and_folder(ground: Ground) -> str:
    file = ground.pick()
    if ground.chance.random() < 0.5:
        file.unlink()
        file.mkdir()
        return f"{file.name} is a folder"
    shutil.rmtree(ground.folder / "model")
    (ground.folder / "model").write_bytes(b"x")
    return "model is a file"


def _manifest(change: Callable[[dict, Ground], None]) -> Act:
    """The manifest says something else, and is good JSON."""

    def act(ground: Ground) -> str:
        place = ground.folder / MANIFEST
        said = json.loads(place.read_bytes())
        change(said, ground)
        place.write_bytes(json.dumps(said, separators=(",", ":")).encode())
        return MANIFEST

    return act


def _other_words(said: dict, ground: Ground) -> None:
    field = ground.chance.choice(["name", "kind", "engine", "entry", "task", "format", "builder", "created_at"])
    said[field] = {"format": 2, "created_at": 9.0, "entry": "golden.json"}.get(field, "other")


def _fitting(said: dict, ground: Ground) -> None:
    """A file is changed, and the manifest made to fit it."""
    name = ground.chance.choice(sorted(said["files"]))
    data = _insert((ground.folder / name).read_bytes(), ground.chance)
    (ground.folder / name).write_bytes(data)
    said["files"][name] = {"sha256": sha256_bytes(data), "size": len(data)}


def _fitting_more(said: dict, ground: Ground) -> None:
    """A file is added, and the manifest lists it."""
    data = ground.chance.randbytes(40)
    (ground.folder / "more.py").write_bytes(data)
    said["files"]["more.py"] = {"sha256": sha256_bytes(data), "size": len(data)}


def _fitting_less(said: dict, ground: Ground) -> None:
    """A file is removed, and the manifest does not list it."""
    name = ground.chance.choice(sorted(set(said["files"]) - {said["entry"]}))
    (ground.folder / name).unlink()
    del said["files"][name]


def _bundle(change: Callable[[dict, dict, Ground], None]) -> Act:
    """The signature's file says something else, and is good JSON; `change` gets bundle and statement."""

    def act(ground: Ground) -> str:
        place = ground.folder / SIGNATURE
        bundle = json.loads(place.read_bytes())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        before = json.dumps(statement)
        change(bundle, statement, ground)
        if json.dumps(statement) != before:
            bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
        place.write_bytes(json.dumps(bundle).encode())
        return SIGNATURE

    return act


def _other_claim(bundle: dict, statement: dict, ground: Ground) -> None:
    """What was signed is made to fit a file that was changed."""
    resource = ground.chance.choice(statement["predicate"]["resources"])
    file = ground.folder / resource["name"]
    file.write_bytes(_flip(file.read_bytes(), ground.chance))
    resource["digest"] = sha256_bytes(file.read_bytes())


def _claim_less(bundle: dict, statement: dict, ground: Ground) -> None:
    """A signed file is removed, and its claim."""
    resource = ground.chance.choice(statement["predicate"]["resources"])
    statement["predicate"]["resources"].remove(resource)
    (ground.folder / resource["name"]).unlink()


def _other_signature(bundle: dict, statement: dict, ground: Ground) -> None:
    ours = bundle["dsseEnvelope"]["signatures"][0]
    data = base64.b64decode(ours["sig"])
    changed = ground.chance.choice([_flip(data, ground.chance), data[:-1], data + b"\0", b"", bytes(len(data))])
    ours["sig"] = base64.b64encode(changed).decode()


def _theirs(bundle: dict, statement: dict, ground: Ground) -> None:
    """The signature of the other version, or its envelope."""
    other = json.loads((ground.other / SIGNATURE).read_bytes())
    if ground.chance.random() < 0.5:
        bundle["dsseEnvelope"] = other["dsseEnvelope"]
    else:
        bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"]


def _more_fields(bundle: dict, statement: dict, ground: Ground) -> None:
    material, envelope = bundle["verificationMaterial"], bundle["dsseEnvelope"]
    ground.chance.choice([
        lambda: envelope["signatures"][0].update(keyid=ground.word()),
        lambda: envelope["signatures"].append(envelope["signatures"][0]),
        lambda: material["publicKey"].update(hint="0" * 64),
    ])()  # fmt: skip


def _by(key: PrivateKey) -> Act:
    """All is sound, and signed by this key."""

    def act(ground: Ground) -> str:
        sign_folder(ground.folder, key)
        return "signed anew"

    return act


def _changed_and_signed(key: PrivateKey) -> Act:
    def act(ground: Ground) -> str:
        _manifest(_fitting)(ground)
        sign_folder(ground.folder, key)
        return "changed and signed anew"

    return act


def _whole_other(ground: Ground) -> str:
    shutil.rmtree(ground.folder)
    shutil.copytree(ground.other, ground.folder)
    return "the other version"


def _signed_extra(ground: Ground) -> str:
    """Who holds the key signs a folder with a file that no manifest lists."""
    (ground.folder / ground.word()).write_bytes(b"x")
    sign_folder(ground.folder, ground.key)
    return "signed with one more"


def tampers(stranger: PrivateKey, revoked: PrivateKey) -> tuple[Tamper, ...]:
    """Every kind; the keys are of somebody unknown, and one that was revoked."""
    return (
        Tamper("a bit flipped", 60, _rewrite(_flip)),
        Tamper("bytes inserted", 40, _rewrite(_insert)),
        Tamper("bytes cut out", 40, _rewrite(_cut_out)),
        Tamper("cut off", 30, _rewrite(_cut_off)),
        Tamper("bytes overwritten", 30, _rewrite(_overwrite)),
        Tamper("a file removed", 24, _remove),
        Tamper("a file added", 40, _add),
        Tamper("a file of git's added", 8, _add_git, BLIND_GIT),
        Tamper("a folder added", 10, _add_folder, BLIND_FOLDER),
        Tamper("a file renamed", 24, _rename),
        Tamper("a file moved", 16, _move),
        Tamper("two files swapped", 24, _swap),
        Tamper("a file over another", 20, _copy_over),
        Tamper("a file made a symbolic link", 16, _link),
        Tamper("the folder made a symbolic link", 2, _link_folder),
        Tamper("a symbolic link added", 10, _add_link),
        Tamper("a file with a second hard link", 14, _hard_link, BLIND_LINK),
        Tamper("a pipe or socket added", 8, _special),
        Tamper("a file made a folder, or the reverse", 10, _file_and_folder),
        Tamper("the manifest reworded", 16, _manifest(_other_words)),
        Tamper("a file changed, the manifest made to fit", 16, _manifest(_fitting)),
        Tamper("a file added, the manifest made to fit", 4, _manifest(_fitting_more)),
        Tamper("a file removed, the manifest made to fit", 8, _manifest(_fitting_less)),
        Tamper("what was signed made to fit", 16, _bundle(_other_claim)),
        Tamper("what was signed, and the file, removed", 8, _bundle(_claim_less)),
        Tamper("the signature changed", 20, _bundle(_other_signature)),
        Tamper("another version's signature", 10, _bundle(_theirs)),
        Tamper("fields added to the bundle", 10, _bundle(_more_fields), BLIND_BUNDLE),
        Tamper("signed by another key", 10, _by(stranger)),
        Tamper("changed, signed by another key", 10, _changed_and_signed(stranger)),
        Tamper("signed by a revoked key", 10, _by(revoked), BLIND_KEY),
        Tamper("changed, signed by a revoked key", 10, _changed_and_signed(revoked), BLIND_KEY),
        Tamper("an old version under the name", 6, _whole_other, BLIND_DIGEST),
        Tamper("one more file, signed by the key itself", 6, _signed_extra, BLIND_FORM),
    )
