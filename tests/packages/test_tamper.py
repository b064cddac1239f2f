"""Over 500 ways to tamper with a real package: all refused, and OpenSSF's own tool agrees wherever it can see.

``PYTHONPATH=tests:. python tests/packages/test_tamper.py`` prints the table.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from oci_for_tests import SmallRegistry
from penstock.app.exporting import export_version
from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.app.pushing import push
from penstock.build.sign import sign_folder
from penstock.errors import Untrusted
from penstock.packages.digests import named, sha256_file
from penstock.packages.keyring import Signers
from penstock.packages.keys import PrivateKey, new_package_key
from penstock.packages.manifest import parse_manifest
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.records import KeyRevoked, Version, encode
from penstock.registry.trust import keep_package
from tampers_for_tests import Ground, Tamper, tampers

try:
    # model-signing imports pyopenssl and does not require it.
    from model_signing import hashing, verifying
except ImportError as error:
    # Where everything is to be shown, what cannot be shown is a failure.
    if os.environ.get("CI"):
        raise
    pytest.skip(f"pip install model-signing pyopenssl ({error})", allow_module_level=True)

GOLDEN = Path(__file__).parents[1] / "golden" / "format-1" / "package"
TOOL = Path(sys.executable).parent / "model_signing"
SEED = 20130901
STRANGER, REVOKED = new_package_key(), new_package_key()
KINDS = tampers(STRANGER, REVOKED)


class Original(NamedTuple):
    """A package as a home would have it, and another version of it; `public` is the key's file for their tool."""

    folder: Path
    other: Path
    key: PrivateKey
    public: Path
    revoked: Path
    digest: str
    signers: Signers


def original(place: Path) -> Original:
    key = new_package_key()
    shutil.copytree(GOLDEN, place / "package")
    shutil.copytree(GOLDEN, place / "other")
    manifest = parse_manifest((place / "other" / "manifest.json").read_bytes())
    (place / "other" / "manifest.json").write_bytes(encode(msgspec.structs.replace(manifest, created_at=0.5)))
    for name in ("package", "other"):
        sign_folder(place / name, key)
    (place / "key.pub").write_bytes(key.public_key().pem)
    (place / "revoked.pub").write_bytes(REVOKED.public_key().pem)
    hint = REVOKED.public_key().hint
    gone = {hint: KeyRevoked(name="packages", hint=hint, reason="stolen", at=1.0)}
    signers = Signers((key.public_key(), REVOKED.public_key()), gone)
    digest = named(sha256_file(place / "package" / "manifest.json"))
    return Original(place / "package", place / "other", key, place / "key.pub", place / "revoked.pub", digest, signers)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Original:
    return original(tmp_path_factory.mktemp("tamper"))


def they_accept(folder: Path, public: Path) -> bool:
    """OpenSSF's verdict, by its API."""
    signature = folder / "signature.json"
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=[signature]))
    try:
        config.verify(folder, signature)
    # It has no class of its own for a refusal: ValueError, FileNotFoundError, what its parsers raise.
    except Exception:
        return False
    return True


class Tally(NamedTuple):
    """How many of a kind were drawn, and who refused how many."""

    drawn: int
    ours: int
    theirs: int
    accepted: tuple[str, ...]


def run(kind: Tamper, package: Original, scratch: Path) -> Tally:
    chance = random.Random(f"{SEED}{kind.name}")
    ours = theirs = 0
    accepted = []
    for number in range(kind.count):
        place = scratch / f"{number}"
        place.mkdir()
        (place / "outside").mkdir()
        shutil.copytree(package.folder, place / "package")
        ground = Ground(place / "package", package.other, place / "outside", package.key, chance)
        what = kind.act(ground)
        try:
            open_package(ground.folder, keys=package.signers, digest=package.digest)
            accepted.append(f"{number}: {what}")
        except Untrusted as refusal:
            ours += bool(refusal.message and refusal.hint)
        public = package.revoked if "revoked" in kind.name else package.public
        theirs += not they_accept(ground.folder, public)
        shutil.rmtree(place)
    return Tally(kind.count, ours, theirs, tuple(accepted))


def test_there_are_more_than_five_hundred() -> None:
    assert sum(kind.count for kind in KINDS) >= 500


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_all_are_refused_and_their_tool_agrees(kind: Tamper, package: Original, tmp_path: Path) -> None:
    found = run(kind, package, tmp_path)
    assert found.ours == kind.count, found.accepted
    assert (found.theirs == kind.count) is not bool(kind.blind), "OpenSSF's tool sees it, too, or we say why not"


@pytest.mark.parametrize("name", ["a bit flipped", "a file added", "what was signed made to fit"])
def test_their_command_says_the_same(package: Original, tmp_path: Path, name: str) -> None:
    def said(folder: Path) -> int:
        words = ["verify", "key", folder, "--signature", folder / "signature.json", "--public_key", package.public]
        return subprocess.run([TOOL, *words], capture_output=True, check=False).returncode

    kind = next(one for one in KINDS if one.name == name)
    shutil.copytree(package.folder, tmp_path / "package")
    if name == KINDS[0].name:
        assert said(tmp_path / "package") == 0
    kind.act(Ground(tmp_path / "package", package.other, tmp_path, package.key, random.Random(SEED)))
    assert said(tmp_path / "package") != 0


def copied(package: Original, place: Path) -> Path:
    return Path(shutil.copytree(package.folder, place / "copy"))


def tarred(package: Original, place: Path) -> Path:
    with tarfile.open(place / "p.tar.gz", "w:gz") as archive:
        archive.add(package.folder, "package")
    with tarfile.open(place / "p.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place / "package"


def zipped(package: Original, place: Path) -> Path:
    archive = shutil.make_archive(str(place / "p"), "zip", package.folder)
    shutil.unpack_archive(archive, place / "unzipped")
    return place / "unzipped"


def linked_and_copied(package: Original, place: Path) -> Path:
    """A copy by hard links, copied out of there: the bytes are what counts."""
    shutil.copytree(package.folder, place / "linked", copy_function=os.link)
    try:
        return Path(shutil.copytree(place / "linked", place / "copy"))
    finally:
        shutil.rmtree(place / "linked")


def touched(package: Original, place: Path) -> Path:
    """Other times, other rights, other order in the folder."""
    names = sorted((p.relative_to(package.folder) for p in package.folder.rglob("*") if p.is_file()), reverse=True)
    for name in names:
        (place / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.folder / name, place / "p" / name)
        os.utime(place / "p" / name, (1.0, 1.0))
        (place / "p" / name).chmod(0o755)
    return place / "p"


@pytest.mark.parametrize("way", [copied, tarred, zipped, linked_and_copied, touched], ids=lambda way: way.__name__)
def test_what_nobody_touched_is_accepted(
    package: Original, tmp_path: Path, way: Callable[[Original, Path], Path]
) -> None:
    place = way(package, tmp_path)
    assert open_package(place, keys=package.signers, digest=package.digest).digest == package.digest
    assert they_accept(place, package.public)


def test_a_hard_linked_copy_is_refused_while_its_other_name_is_there(package: Original, tmp_path: Path) -> None:
    """Whoever has the other name could write into it after it was verified."""
    shutil.copytree(package.folder, tmp_path / "mine")
    shutil.copytree(tmp_path / "mine", tmp_path / "linked", copy_function=os.link)
    with pytest.raises(Untrusted, match="second name"):
        open_package(tmp_path / "linked", keys=package.signers)
    shutil.rmtree(tmp_path / "mine")
    assert open_package(tmp_path / "linked", keys=package.signers).digest == package.digest


def test_exported_and_pulled_it_is_the_same_package(tmp_path: Path) -> None:
    ours, theirs = open_app(tmp_path / "ours"), open_app(tmp_path / "theirs")
    shutil.copytree(GOLDEN, tmp_path / "package")
    sign_folder(tmp_path / "package", ours.package_key)
    kept = keep_package(tmp_path / "package", ours.registry.packages, ours.state())
    version = Version(model="flights", version=1, digest=kept.digest, author="admin", created_at=1.0)
    ours.registry.append("version.registered", "model/flights", version, by=ours.identity)
    public = ours.home / "keys" / "package.pub"
    made = export_version(ours, "flights@1", "azureml", tmp_path / "out")
    exported = next(path.parent for path in made.folder.rglob("signature.json"))
    beside = load_public_key(next(made.folder.rglob("package.pub")))
    assert open_package(exported, keys=[beside], digest=kept.digest).digest == kept.digest
    assert they_accept(exported, public)
    with SmallRegistry() as small:
        push(ours, "flights@1", f"oci://{small.place}/r")
        pulled = pull(theirs, f"oci://{small.place}/r:1", trust=public)
    place = theirs.registry.packages.path(pulled.digest)
    assert theirs.open_package(pulled.digest).digest == kept.digest
    assert they_accept(place, public)


def table() -> Iterator[str]:
    """A line a kind: drawn, refused by us, refused by them, and why they cannot see it."""
    with tempfile.TemporaryDirectory() as scratch:
        package = original(Path(scratch))
        for number, kind in enumerate(KINDS):
            (Path(scratch) / f"k{number}").mkdir()
            found = run(kind, package, Path(scratch) / f"k{number}")
            yield f"| {kind.name} | {found.drawn} | {found.ours} | {found.theirs} | {kind.blind} |"


if __name__ == "__main__":
    print("\n".join(table()))
