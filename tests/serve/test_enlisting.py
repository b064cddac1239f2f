"""Endpoints at run time: in every worker or in none, from named folders alone, and only where nobody releases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archives_for_tests import FUNCTION, archive
from dataplane_for_tests import Answered, DataPlane, route, until
from packages_for_tests import flights_like, linear_answers, linear_package, slow_package
from penstock.errors import Conflict
from penstock.packages.keys import load_or_create_package_key
from penstock.packages.publickey import PUBLIC
from penstock.records import Snapshot, encode
from penstock.serve.acts import Enlist
from penstock.serve.enlisting import ARCHIVES, Enlisting, EnlistingTerms
from penstock.serve.snapshots import FILE, write_whole

MANY = {"SAGEMAKER_MULTI_MODEL": "true"}
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]


class Store(DataPlane):
    """A data plane whose models come from a folder."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.models = home / "models"
        self.models.mkdir()

    def begin(self, *options: str, workers: int = 2) -> Store:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in MANY.items():
                patch.setenv(name, value)
            self.start("--models", str(self.models), "--spares", "0", *options, workers=workers)
        until(lambda: len(self.statuses()) == workers and self.ask("GET", "/ping").status == 200)
        return self

    def enlist(self, name: str, url: object, **headers: str) -> Answered:
        return self.ask("POST", "/models", json.dumps({"model_name": name, "url": str(url)}), headers)

    def dismiss(self, name: str) -> Answered:
        return self.ask("DELETE", f"/models/{name}")

    def invoke(self, name: str) -> Answered:
        return self.ask("POST", f"/models/{name}/invoke", json.dumps(ROWS))

    def names(self) -> set[str]:
        return {one["modelName"] for one in self.ask("GET", "/models").json["models"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    plane = Store(tmp_path_factory.mktemp("enlisting"))
    try:
        yield plane.begin("--allow", "load")
    finally:
        plane.stop()


def test_it_starts_with_nothing_and_is_healthy(store: Store) -> None:
    assert store.names() == set()
    assert store.ask("GET", "/v2/health/ready").status == 200
    assert store.invoke("linear").status == 404


def test_an_endpoint_answers_in_every_worker_before_the_answer_and_goes_from_all(store: Store) -> None:
    folder = store.models / "a" / "model"
    linear_package(folder)
    assert store.enlist("a", folder).status == 200
    answers = [store.invoke("a") for _ in range(12)]
    assert {one.status for one in answers} == {200}
    labels = [row["label"] for row in answers[0].json["predictions"]]
    assert labels == linear_answers(ROWS)["label"].tolist()
    assert store.ask("GET", "/models/a").json == {"modelName": "a", "modelUrl": str(folder)}
    again = store.enlist("a", folder)
    assert (again.status, again.json["code"]) == (409, "serve.enlisted")
    assert store.dismiss("a").status == 200
    assert {store.invoke("a").status for _ in range(12)} == {404}
    assert store.dismiss("a").status == 404
    assert store.ask("GET", "/models/a").status == 404


def test_a_package_may_lie_one_folder_deeper_and_be_named_from_the_first_one(store: Store) -> None:
    linear_package(store.models / "deep" / "package")
    assert store.enlist("deep", "deep").status == 200
    assert store.invoke("deep").status == 200
    assert store.dismiss("deep").status == 200


def test_one_that_does_not_answer_as_it_should_changes_nothing(store: Store) -> None:
    linear_package(store.models / "good")
    linear_package(store.models / "bad", wrong=True)
    assert store.enlist("good", "good").status == 200
    for _ in range(2):
        refused = store.enlist("other", "bad")
        assert (refused.status, refused.json["code"]) == (400, "serve.unfit"), refused.body
        assert "golden" in refused.json["message"]
        assert store.names() == {"good"}
        assert {store.invoke("good").status for _ in range(8)} == {200}
        assert all(not one.failed for one in store.statuses())
    assert store.enlist("other", "good").status == 200, "the name is free again"
    assert store.dismiss("other").status == store.dismiss("good").status == 200


def test_one_that_is_not_whole_is_refused_before_any_worker_opens_it(store: Store) -> None:
    linear_package(store.models / "cut")
    graph = store.models / "cut" / "model" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    before = (store.run / "snapshot.json").read_bytes()
    refused = store.enlist("cut", "cut")
    assert (refused.status, refused.json["code"]) == (400, "packages.untrusted")
    assert (store.run / "snapshot.json").read_bytes() == before


def test_a_model_that_was_measured_and_does_not_fit_is_507(store: Store) -> None:
    digest = linear_package(store.models / "large", bias=3.0)
    needs = store.run / "needs" / digest.rpartition(":")[2]
    needs.parent.mkdir(exist_ok=True)
    needs.write_text(str(1 << 50))
    refused = store.enlist("large", "large")
    assert (refused.status, refused.json["code"]) == (507, "serve.memory")
    needs.unlink()
    assert store.enlist("large", "large").status == 200
    assert store.dismiss("large").status == 200


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("/etc", 403),
        ("/nowhere/at/all", 403),
        ("../outside", 403),
        ("a/../../outside", 403),
        ("link", 403),
        ("link/inner", 403),
        (".", 403),
        ("", 400),
        ("s3://bucket/model", 400),
        ("a\0b", 400),
        ("missing", 404),
        ("empty", 404),
        ("several", 404),
        ("linked", 404),
        ("inner-link", 400),
    ],
)
def test_models_come_from_the_named_folder_alone(store: Store, url: str, status: int) -> None:
    outside = store.models.parent / "outside"
    if not outside.exists():
        linear_package(outside)
        linear_package(outside / "inner")
        (store.models / "link").symlink_to(outside)
        (store.models / "empty").mkdir()
        for name in ("one", "two"):
            linear_package(store.models / "several" / name)
        (store.models / "linked").mkdir()
        (store.models / "linked" / "p").symlink_to(outside)
        linear_package(store.models / "inner-link")
        graph = store.models / "inner-link" / "model" / "model.onnx"
        graph.rename(outside.parent / "graph.onnx")
        graph.symlink_to(outside.parent / "graph.onnx")
    refused = store.enlist("stolen", url)
    assert refused.status == status, refused.body
    assert url == "" or url not in refused.json["message"]
    assert "stolen" not in store.names()


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "", "x" * 200, "ü"])
def test_a_name_is_a_name(store: Store, name: str) -> None:
    if not (store.models / "named").exists():
        linear_package(store.models / "named", name="own-name")
    answer = store.enlist(name, "named")
    if name:
        assert answer.status == 400
    else:
        assert store.names() == {"own-name"}, "no name takes the model's own"
        assert store.dismiss("own-name").status == 200


def test_several_at_once(store: Store) -> None:
    linear_package(store.models / "l", bias=0.5)
    flights_like(store.models / "f")
    wanted = [("l", "l"), ("f", "f"), ("same", "l"), ("same", "f"), ("same", "l")]
    with ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(lambda one: store.enlist(*one).status, wanted))
    assert statuses[:2] == [200, 200]
    assert sorted(statuses[2:]) == [200, 409, 409]
    assert store.names() == {"l", "f", "same"}
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda name: store.dismiss(name).status, ("l", "f", "same"))) == {200}
    assert store.names() == set()


def test_while_one_is_being_loaded_the_others_answer_and_the_server_is_ready(store: Store) -> None:
    linear_package(store.models / "quick")
    slow_package(store.models / "slow", rounds=1_000)
    assert store.enlist("quick", "quick").status == 200
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.enlist, "slow", "slow")
        until(lambda: b'"slow"' in (store.run / "snapshot.json").read_bytes())
        met = set()
        while not waiting.done():
            probes = [store.ask("GET", path).status for path in ("/ping", "/v2/health/ready")]
            met.add((*probes, store.invoke("quick").status, tuple(sorted(store.names()))))
        assert waiting.result().status == 200
    assert (200, 200, 200, ("quick",)) in met, "it took no time: nothing was shown"
    assert {one[:3] for one in met} == {(200, 200, 200)}
    assert store.names() == {"quick", "slow"}
    assert store.dismiss("quick").status == store.dismiss("slow").status == 200


def test_a_page_in_a_browser_may_not(store: Store) -> None:
    assert store.enlist("a", "a/model", Origin="http://example.org").status == 403
    assert store.names() == set()


def test_it_takes_a_permission_and_a_signature_and_outlives_a_restart(tmp_path: Path) -> None:
    plane = Store(tmp_path)
    linear_package(plane.models / "p")
    (tmp_path / "token").write_text("pst_secret")
    bearer = {"Authorization": "Bearer pst_secret"}

    def models(method: str, path: str = "", body: object = None) -> Answered:
        return plane.ask(method, f"/models{path}", json.dumps(body) if body else "", bearer)

    wanted = {"model_name": "mine", "url": "p"}
    try:
        plane.begin(workers=1)
        assert plane.enlist("mine", "p").status == 403, "nobody was allowed to"
        plane.stop()
        plane.begin("--token-file", str(tmp_path / "token"), workers=1)
        assert models("POST", body=wanted).status == 403, "the token may only ask"
        plane.stop()
        plane.begin("--token-file", str(tmp_path / "token"), "--allow", "load", workers=1)
        assert plane.enlist("mine", "p").status == 401
        assert models("POST", body=wanted).status == 200
        assert plane.invoke("mine").status == 401
        assert plane.ask("POST", "/models/mine/invoke", json.dumps(ROWS), bearer).status == 200
        plane.stop()
        plane.begin("--allow", "load", workers=1)
        until(lambda: plane.names() == {"mine"})
        assert models("DELETE", "/mine").status == 200
        plane.stop()
        load_or_create_package_key(tmp_path / "keys")
        plane.begin("--allow", "load", "--keys", str(tmp_path / "keys" / PUBLIC), workers=1)
        assert plane.enlist("mine", "p").json["code"] == "packages.untrusted", "nobody signed it"
    finally:
        plane.stop()


async def test_nothing_is_made_of_an_archive_whose_name_is_taken(tmp_path: Path) -> None:
    archive(tmp_path / "models" / "echo.mar", FUNCTION)
    run = tmp_path / "run"
    run.mkdir()
    write_whole(run / FILE, encode(Snapshot(number=1, routes=(route("echo", "sha256:" + "0" * 64),))))
    enlisting = Enlisting(run, EnlistingTerms(models=(str(tmp_path / "models"),), released=False))
    with pytest.raises(Conflict):
        await enlisting.enlist(enlisting.plan(Enlist("", "echo.mar")))
    assert not (run / ARCHIVES).exists()


def test_where_releases_come_from_a_control_plane_nobody_else_may_add(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    linear_package(tmp_path / "models" / "p")
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    environment = {**os.environ, **MANY}
    command = [
        sys.executable,
        "-m",
        "penstock.serve",
        "--run-dir",
        str(plane.run),
        "--models",
        str(tmp_path / "models"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1
    assert "control plane" in done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_MULTI_MODEL", "true")
        plane.start("--spares", "0", "--allow", "load", workers=1)
    try:
        plane.settled(workers=1)
        body = json.dumps({"model_name": "more", "url": str(tmp_path / "models" / "p")})
        for answer in (plane.ask("POST", "/models", body), plane.ask("DELETE", "/models/linear")):
            assert (answer.status, answer.json["code"]) == (409, "serve.released")
        assert plane.ask("POST", "/models/linear/invoke", json.dumps(ROWS)).status == 200
    finally:
        plane.stop()
