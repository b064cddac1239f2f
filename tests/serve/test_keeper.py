"""Unload and load: in every worker before the answer, by whoever may, and without losing a count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import flights_like, linear_package
from penstock.records import Grant

ROW = v2([[1.0, 2.0, 3.0, 4.0]])
INFER = "/v2/models/linear/infer"
TOKENS = {
    "loader": Grant(token_sha256=sha256(b"loader").hexdigest(), subject="ops", permissions=("predict", "load")),
    "other": Grant(
        token_sha256=sha256(b"other").hexdigest(), subject="ops", permissions=("load",), endpoints=("flights",)
    ),
    "asker": Grant(token_sha256=sha256(b"asker").hexdigest(), subject="me", permissions=("predict",)),
}


def control(plane: DataPlane, what: str, *, name: str = "linear", body: object = None, query: str = "") -> Answered:
    return plane.ask("POST", f"/v2/repository/models/{name}/{what}{query}", json.dumps(body) if body else "")


def state(plane: DataPlane, name: str = "linear") -> set[str]:
    """What whichever worker answers says; asked often enough to meet all."""
    lines = [line for _ in range(6) for line in plane.ask("POST", "/v2/repository/index").json]
    return {line["state"] for line in lines if line["name"] == name}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("keeper")
    plane = DataPlane(home)
    linear, flights = plane.add(linear_package, home / "linear"), plane.add(flights_like, home / "flights")
    plane.write(route("linear", linear), route("flights", flights))
    plane.start("--spares", "0", "--allow", "load,share")
    try:
        plane.settled()
        yield plane
    finally:
        plane.stop()


def test_an_unloaded_endpoint_answers_in_no_worker_until_it_is_loaded(two: DataPlane) -> None:
    assert control(two, "unload").status == 200
    answers = [two.ask("POST", INFER, ROW) for _ in range(12)]
    assert {answer.status for answer in answers} == {503}
    assert answers[0].json["code"] == "serve.unloaded"
    assert two.ask("GET", "/v2/models/linear/ready").status == 503
    assert state(two) == {"UNAVAILABLE"}
    assert state(two, "flights") == {"READY"}
    assert {two.ask("GET", "/v2/health/ready").status for _ in range(6)} == {200}, "the server itself is ready"
    digests = [set(one.ready) for one in two.statuses()]
    assert all(two.packages.keys() - ready for ready in digests), "its model is out of memory"
    assert control(two, "load").status == 200
    assert {two.ask("POST", INFER, ROW).status for _ in range(12)} == {200}
    assert state(two) == {"READY"}


def test_counts_are_kept(two: DataPlane) -> None:
    def stats() -> dict:
        return two.ask("GET", "/v2/models/linear/stats").json["model_stats"][0]

    for _ in range(5):
        assert two.ask("POST", INFER, ROW).status == 200
    before = stats()
    control(two, "unload")
    assert stats()["inference_stats"]["success"] == before["inference_stats"]["success"]
    control(two, "load")
    after = stats()
    assert after["execution_count"] == before["execution_count"]
    assert after["batch_stats"] == before["batch_stats"]
    two.ask("POST", INFER, ROW)
    assert stats()["inference_count"] == before["inference_count"] + 1


def test_a_load_of_what_is_there_changes_nothing(two: DataPlane) -> None:
    assert control(two, "load").body == b""
    assert control(two, "load", query="?verbose").json == {"name": "linear", "load": True, "state": "READY"}
    assert control(two, "unload", query="?verbose").json["state"] == "UNAVAILABLE"
    assert control(two, "unload", body={"parameters": {"unload_dependents": True}}).status == 200
    assert control(two, "load").status == 200


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("load", {"parameters": {"config": "{}"}}),
        ("load", {"parameters": {"file:1/model.onnx": "AAAA"}}),
        ("unload", {"parameters": {"unload_dependents": 1}}),
        ("unload", {"parameters": {"other": True}}),
        ("load", {"parameters": 1}),
    ],
)
def test_what_a_package_cannot_do_is_refused(two: DataPlane, what: str, body: object) -> None:
    answer = control(two, what, body=body)
    assert answer.status == 400
    assert "parameters" in answer.json["where"]
    assert two.ask("POST", INFER, ROW).status == 200


def test_a_page_in_a_browser_may_not(two: DataPlane) -> None:
    answer = two.ask("POST", "/v2/repository/models/linear/unload", "", {"Origin": "http://example.org"})
    assert answer.status == 403
    assert two.ask("POST", INFER, ROW).status == 200


def test_the_next_release_wakes_it_and_a_restart_does_not(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    old, new = plane.add(linear_package, tmp_path / "a"), plane.add(linear_package, tmp_path / "b", bias=9.0)
    plane.write(route("linear", old))
    try:
        plane.start("--spares", "0", "--allow", "load", "--strict-readiness", workers=1)
        plane.settled(workers=1)
        assert control(plane, "unload").status == 200
        assert plane.ask("GET", "/v2/health/ready").status == 503, "strict readiness"
        plane.stop()
        plane.start("--spares", "0", workers=1)
        plane.settled(workers=1)
        assert plane.ask("POST", INFER, ROW).status == 503
        assert plane.ask("GET", "/v2/health/ready").status == 200
        plane.write(route("linear", new, version=2))
        until(lambda: plane.ask("POST", INFER, ROW).status == 200)
        assert plane.ask("POST", INFER, ROW).json["model_version"] == "2"
        plane.write(route("linear", old))
        until(lambda: plane.ask("POST", INFER, ROW).status == 503)
    finally:
        plane.stop()


def test_a_load_that_fails_says_so(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    try:
        plane.start("--spares", "0", "--allow", "load", workers=1)
        plane.settled(workers=1)
        control(plane, "unload")
        graph = tmp_path / "p" / "model" / "model.onnx"
        whole = graph.read_bytes()
        graph.write_bytes(whole[:-1] + b"\0")
        answer = control(plane, "load")
        assert (answer.status, answer.json["code"]) == (503, "serve.load")
        assert state(plane) == {"LOADING"}
        graph.write_bytes(whole)
    finally:
        plane.stop()


def test_who_may_is_said_by_the_token(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest, public=False), grants=tuple(TOKENS.values()))

    def unload(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return plane.ask("POST", "/v2/repository/models/linear/unload", "", headers).status

    try:
        plane.start("--spares", "0", "--allow", "load", workers=1)
        plane.settled(workers=1)
        # Whoever may not see it does not learn that it is there.
        assert [unload(token) for token in ("", "wrong", "other")] == [404, 404, 404]
        assert unload("asker") == 403
        assert unload("loader") == 200
        assert unload("") == 404, "an unloaded endpoint is as private as it was"
        assert plane.ask("GET", "/metrics").status == 401
    finally:
        plane.stop()
