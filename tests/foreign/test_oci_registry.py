"""Debian's registry holds what is pushed, skopeo lists and fetches it, and another home pulls it byte for byte."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import v2
from exports_for_tests import BIAS, ROOT, ask, free_port, variables
from oci_for_tests import DEBIAN, SKOPEO, add_version, debian_registry, digest_of, home_with_a_version
from packages_for_tests import linear_answers
from penstock.app.opening import open_app
from penstock.app.pulling import pull
from penstock.app.pushing import push
from penstock.errors import Conflict, Untrusted
from penstock.packages.read import open_package
from penstock.registry.oci import OciRepository, blob_of_file
from penstock.registry.oci_login import OciLogin
from penstock.registry.oci_reference import parse_reference
from penstock.registry.oci_wire import OciWire
from penstock.registry.verify import verify

pytestmark = [
    pytest.mark.foreign,
    pytest.mark.skipif(DEBIAN is None, reason="there is no docker-registry here: apt install docker-registry"),
]
needs_skopeo = pytest.mark.skipif(SKOPEO is None, reason="there is no skopeo here: apt install skopeo")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with debian_registry(tmp_path_factory.mktemp("registry")) as place:
        yield place


def skopeo(*words: str) -> bytes:
    assert SKOPEO is not None
    return subprocess.run([SKOPEO, *words], capture_output=True, check=True, timeout=60).stdout


def test_another_home_pulls_what_this_one_pushed(registry: str, tmp_path: Path) -> None:
    ours, theirs = home_with_a_version(tmp_path / "ours"), open_app(tmp_path / "theirs")
    there = f"oci://{registry}/another/linear"
    pushed = push(ours, "linear@1", there)
    assert (pushed.ref, pushed.place, pushed.news) == ("linear@1", f"{there}:1", True)
    assert pushed.moved == pushed.files == 4

    with pytest.raises(Untrusted, match="not trusted here"):
        pull(theirs, f"{there}:1")
    assert theirs.state().models == {}

    key = ours.home / "keys" / "package.pub"
    pulled = pull(theirs, f"{there}@{pushed.artifact}", trust=key)
    assert (pulled.ref, pulled.digest, pulled.artifact) == ("linear@1", pushed.digest, pushed.artifact)
    one, other = (app.registry.packages.path(pushed.digest) for app in (ours, theirs))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
    assert theirs.open_package(pulled.digest).manifest.name == "linear"
    assert open_package(other, keys=[ours.package_key.public_key()], digest=pushed.digest)

    said = [(event.kind, json.loads(event.body)) for event in theirs.registry.events() if "pull" in event.kind]
    assert said == [
        (
            "package.pulled",
            {"model": "linear", "version": 1, "digest": pushed.digest, "place": there, "artifact": pushed.artifact},
        )
    ]
    assert len(ours.registry.events(kind="package.pushed")) == 1
    for app in (ours, theirs):
        found = verify(app.home, [app.registry.public_key])
        assert found.ok, found.problems

    again = pull(theirs, f"{there}:1")
    assert (again.ref, again.news, again.moved) == ("linear@1", False, 0)
    assert len(theirs.state().models["linear"].versions) == 1


def test_a_second_push_sends_nothing_and_a_tag_is_not_taken(registry: str, tmp_path: Path) -> None:
    app = home_with_a_version(tmp_path / "home", bias=2.0)
    there = f"oci://{registry}/twice:prod"
    first, second = push(app, "linear", there), push(app, "linear", there)
    assert (first.news, second.news, second.moved, second.artifact) == (True, False, 0, first.artifact)
    assert len(app.registry.events(kind="package.pushed")) == 1
    add_version(app, tmp_path / "next", bias=3.0, number=2)
    with pytest.raises(Conflict, match="another artifact"):
        push(app, "linear@2", there)
    dry = push(app, "linear@2", there, replace=True, dry_run=True)
    assert 0 < dry.moved <= dry.files
    assert pull(app, there, dry_run=True).digest == first.digest
    assert push(app, "linear@2", there, replace=True).moved == dry.moved
    assert pull(app, there, dry_run=True).ref == "linear@2"


def test_pieces_go_on_where_they_ended(registry: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "large").write_bytes(data)
    wire = OciWire(parse_reference(f"oci://{registry}/pieces"), OciLogin(), scope="pull,push")
    repository = OciRepository(wire, begun=tmp_path / "begun", chunk_bytes=200_000)
    blob = blob_of_file(tmp_path / "large", digest_of(data), len(data))

    class Killed(BaseException):
        pass

    def die(done: int) -> None:
        if done >= 600_000:
            raise Killed

    with pytest.raises(Killed):
        repository.put_blob(blob, die)
    assert len(list((tmp_path / "begun").iterdir())) == 1
    heard: list[int] = []
    other = OciRepository(wire, begun=tmp_path / "begun", chunk_bytes=200_000)
    assert other.put_blob(blob, heard.append)
    # The third piece had arrived, and its answer had not been written down: the registry says how far it is.
    assert heard[0] > 600_000
    assert not other.put_blob(blob)
    assert list((tmp_path / "begun").iterdir()) == []
    other.get_blob(blob.digest, blob.size, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data


@needs_skopeo
def test_skopeo_lists_inspects_and_copies_it(registry: str, tmp_path: Path) -> None:
    app = home_with_a_version(tmp_path / "home", bias=4.0)
    pushed = push(app, "linear@1", f"oci://{registry}/seen/linear:v1.0")
    plain = "--tls-verify=false"
    assert json.loads(skopeo("list-tags", plain, f"docker://{registry}/seen/linear"))["Tags"] == ["v1.0"]
    raw = skopeo("inspect", plain, "--raw", f"docker://{registry}/seen/linear:v1.0")
    assert digest_of(raw) == pushed.artifact
    manifest = json.loads(raw)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert manifest["annotations"]["penstock.package.digest"] == pushed.digest
    paths = {one["annotations"]["org.cncf.model.filepath"]: one["mediaType"] for one in manifest["layers"]}
    entry = app.open_package(pushed.digest).manifest.entry
    assert paths[entry] == "application/vnd.cncf.model.weight.v1.raw"
    assert paths["signature.json"] == "application/vnd.cncf.model.weight.config.v1.raw"
    config = json.loads(skopeo("inspect", plain, "--config", "--raw", f"docker://{registry}/seen/linear:v1.0"))
    assert config["descriptor"]["name"] == "linear"
    assert config["modelfs"]["diffIds"] == [one["digest"] for one in manifest["layers"]]

    # Copied by a client that knows nothing of models, to another registry's layout and back under another name.
    skopeo("copy", "--src-tls-verify=false", f"docker://{registry}/seen/linear:v1.0", f"oci:{tmp_path / 'layout'}:x")
    skopeo("copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'layout'}:x", f"docker://{registry}/mirror/linear:x")
    assert pull(app, f"oci://{registry}/mirror/linear:x").digest == pushed.digest


def test_as_it_is_typed(registry: str, tmp_path: Path) -> None:
    app = home_with_a_version(tmp_path / ".penstock", bias=5.0)
    there = f"oci://{registry}/typed/linear"

    def type_words(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "penstock", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=variables())

    dry = json.loads(type_words("push", "linear@1", there, "--dry-run", "--json").stdout)
    assert (dry["dry_run"], dry["moved"], dry["place"]) == (True, 4, f"{there}:1")
    pushed = type_words("push", "linear@1", there)
    assert pushed.returncode == 0, pushed.stderr
    assert f"next: penstock pull {there}@{dry['artifact']}" in pushed.stdout
    refused = type_words("pull", f"{there}:1", "--home", "other", "--json")
    assert (refused.returncode, json.loads(refused.stderr)["error"]) == (1, "packages.unknown_signer")
    assert "--trust" in json.loads(refused.stderr)["hint"]
    key = str(app.home / "keys" / "package.pub")
    pulled = json.loads(type_words("pull", f"{there}:1", "--home", "other", "--trust", key, "--json").stdout)
    assert (pulled["ref"], pulled["digest"], pulled["artifact"]) == ("linear@1", dry["digest"], dry["artifact"])
    none = type_words("pull", f"{there}:7", "--home", "other", "--json")
    assert (none.returncode, json.loads(none.stderr)["error"]) == (1, "oci.none")


@needs_skopeo
def test_the_documents_example_runs_and_what_was_pulled_answers(registry: str, tmp_path: Path) -> None:
    home_with_a_version(tmp_path / ".penstock", bias=BIAS)
    (block,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "registries.md").read_text(), re.DOTALL)
    _, *lines, last = block.replace("churn", "linear").replace("127.0.0.1:5000", registry).splitlines()
    for line in lines:
        words = [sys.executable, "-m", *line.split()] if line.startswith("penstock") else line.split()
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=variables())
        assert done.returncode == 0, f"{line}: {done.stderr}"
    assert [line.split()[1] for line in lines] == ["push", "list-tags", "inspect", "pull"]

    port = free_port()
    words = [sys.executable, "-m", *last.split(), "--port", str(port), "--workers", "1"]
    serving = subprocess.Popen(words, cwd=tmp_path, env=variables())
    try:
        rows = [[0.2, 1.5, 3.0, 0.1]]
        answer = waited_for(f"http://127.0.0.1:{port}/v2/models/linear/infer", v2(rows).encode())
    finally:
        serving.terminate()
        serving.wait(30)
    said = {one["name"]: one["data"] for one in json.loads(answer)["outputs"]}
    wanted = linear_answers(np.array(rows, np.float32), bias=BIAS)["probabilities"]
    np.testing.assert_allclose([said["probabilities"]], wanted, atol=1e-6)


def waited_for(url: str, body: bytes) -> bytes:
    """The first good answer within a minute and a half."""
    for _ in range(900):
        try:
            got = ask(url, body)
            if got.status == 200:
                return got.body
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("nobody answers")
