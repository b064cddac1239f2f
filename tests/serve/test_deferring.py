"""Requests that are answered later: acknowledged means durable, whoever dies meanwhile; nobody sees another's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import linear_package, slow_package
from penstock.access.tokens import token_sha256
from penstock.records import Grant, Limits

ASYNC = {"Prefer": "respond-async"}
INFER = "/v2/models/linear/infer"
SLOW = "/v2/models/slow/infer"
ROWS = [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, -1.0]]


def accepted(plane: DataPlane, path: str, body: str, headers: dict[str, str] | None = None) -> str:
    answer = plane.ask("POST", path, body, {**ASYNC, **(headers or {})})
    assert answer.status == 202, answer.body
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["location"] == f"/jobs/{answer.json['id']}"
    return answer.json["id"]


def result(plane: DataPlane, job: str, headers: dict[str, str] | None = None, *, seconds: float = 30.0) -> Answered:
    end = time.monotonic() + seconds
    while (answer := plane.ask("GET", f"/jobs/{job}/result", headers=headers)).status == 202:
        assert time.monotonic() < end, "it was not answered"
        time.sleep(0.05)
    return answer


@pytest.fixture
def both(tmp_path: Path) -> Iterator[DataPlane]:
    """``linear`` and a slow model of some hundred milliseconds, two workers."""
    plane = DataPlane(tmp_path)
    linear = plane.add(linear_package, tmp_path / "linear")
    slow = plane.add(slow_package, tmp_path / "slow", rounds=3000)
    plane.write(route("linear", linear), route("slow", slow, limits=Limits(deadline_s=60)))
    plane.start("--allow", "load", workers=2)
    try:
        plane.settled()
        yield plane
    finally:
        plane.stop()


@pytest.mark.parametrize("path", [INFER, "/v1/models/linear:predict"])
def test_the_reply_is_the_one_it_would_have_been(plane: DataPlane, path: str) -> None:
    body = v2(ROWS) if "v2" in path else json.dumps({"instances": ROWS})
    now = plane.ask("POST", path, body)
    job = accepted(plane, path, body)
    later = result(plane, job)
    assert later.status == 200
    mine, theirs = later.json, now.json
    for own in ("id", "prediction_id", "parameters"):
        mine.pop(own, None), theirs.pop(own, None)
    assert mine == theirs
    assert later.headers["x-prediction-id"]
    assert plane.ask("GET", f"/jobs/{job}").json["state"] == "done"
    assert plane.ask("GET", f"/jobs/{job}/result").body == later.body, "it can be fetched again"


@pytest.mark.parametrize(
    ("path", "body", "status"), [(INFER, "{", 400), (INFER, v2([[1.0]]), 400), ("/v2/models/no/infer", v2(ROWS), 404)]
)
def test_what_is_wrong_is_refused_at_once(plane: DataPlane, path: str, body: str, status: int) -> None:
    answer = plane.ask("POST", path, body, ASYNC)
    assert answer.status == status
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/jobs/", 404), ("GET", "/jobs/../run", 404), ("GET", f"/jobs/{'0' * 32}", 404),
        ("GET", f"/jobs/{'0' * 32}/result", 404), ("DELETE", f"/jobs/{'0' * 32}", 404),
        ("GET", "/jobs/%2e%2e%2fx", 404), ("GET", f"/jobs/{'0' * 32}/more", 404),
    ],
)  # fmt: skip
def test_no_such_job(plane: DataPlane, method: str, path: str, status: int) -> None:
    answer = plane.ask(method, path)
    assert answer.status == status
    assert answer.json["error"]


def test_a_job_can_be_forgotten(plane: DataPlane) -> None:
    job = accepted(plane, INFER, v2(ROWS))
    result(plane, job)
    assert plane.ask("POST", f"/jobs/{job}").status == 405
    assert plane.ask("DELETE", f"/jobs/{job}").status == 204
    assert plane.ask("GET", f"/jobs/{job}").status == 404
    assert not list((plane.run / "jobs").glob(f"{job}*"))


def test_another_preference_is_ignored(plane: DataPlane) -> None:
    assert plane.ask("POST", INFER, v2(ROWS), {"Prefer": "return=minimal"}).status == 200


def test_a_worker_that_dies_takes_nothing_along(both: DataPlane) -> None:
    jobs = [accepted(both, SLOW, v2(ROWS[:1])) for _ in range(6)]
    until(lambda: any(both.ask("GET", f"/jobs/{job}").json["state"] == "running" for job in jobs))
    for status in both.statuses():
        os.kill(status.pid, signal.SIGKILL)
    for job in jobs:
        assert result(both, job, seconds=60).status == 200


def test_a_server_that_is_killed_goes_on_where_it_was(both: DataPlane) -> None:
    jobs = [accepted(both, SLOW, v2(ROWS[:1])) for _ in range(4)]
    workers = [status.pid for status in both.statuses()]
    assert both.process is not None
    for pid in (both.process.pid, *workers):
        os.kill(pid, signal.SIGKILL)
    both.process.wait()
    both.start("--allow", "load", workers=1)
    for job in jobs:
        assert result(both, job, seconds=60).status == 200


def tried(tries: Path, so_many: int) -> bool:
    return tries.exists() and tries.stat().st_size >= so_many


def test_what_ends_its_worker_again_and_again_is_given_up(both: DataPlane) -> None:
    job = accepted(both, SLOW, v2(ROWS[:1]))
    tries = both.run / "jobs" / f"{job}.tries"
    for so_many in (1, 2, 3):
        until(partial(tried, tries, so_many))
        for status in both.statuses():
            os.kill(status.pid, signal.SIGKILL)
    answer = result(both, job, seconds=60)
    assert answer.status == 500
    assert "Traceback" not in answer.body.decode()


def test_it_waits_for_its_endpoint(both: DataPlane) -> None:
    job = accepted(both, SLOW, v2(ROWS[:1] * 20))
    more = accepted(both, INFER, v2(ROWS))
    assert both.ask("POST", "/v2/repository/models/linear/unload").status == 200
    late = both.ask("POST", INFER, v2(ROWS), ASYNC)
    assert late.status == 503, "not accepted while it cannot be checked"
    assert both.ask("POST", "/v2/repository/models/linear/load").status == 200
    assert result(both, more).status == 200
    assert result(both, job).status == 200


def test_nobody_sees_another_ones(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "linear")
    grants = tuple(
        Grant(token_sha256=token_sha256(name), subject=name, permissions=("predict",)) for name in ("ann", "bob")
    )
    plane.write(route("linear", digest, public=False), grants=grants)
    plane.start("--spares", "0", workers=1)
    ann, bob = ({"Authorization": f"Bearer {name}"} for name in ("ann", "bob"))
    try:
        plane.settled(workers=1)
        assert plane.ask("POST", INFER, v2(ROWS), ASYNC).status == 401
        job = accepted(plane, INFER, v2(ROWS), ann)
        assert result(plane, job, ann).status == 200
        assert plane.ask("GET", f"/jobs/{job}/result", headers=bob).status == 404
        assert plane.ask("GET", f"/jobs/{job}/result").status == 404
        assert plane.ask("DELETE", f"/jobs/{job}", headers=bob).status == 404
        kept = b"".join(path.read_bytes() for path in (plane.run / "jobs").iterdir())
        assert b"ann" in kept
        assert b"Bearer" not in kept, "no token is written down"
    finally:
        plane.stop()


def test_without_a_folder_that_lasts_all_is_answered_at_once(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    plane = DataPlane(tmp_path)
    command = [sys.executable, "-m", "penstock.serve", "--package", str(tmp_path / "linear"), "--workers", "1"]
    plane.process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert plane.process.stdout is not None
        plane.port = int(plane.process.stdout.readline().rsplit(b":", 1)[1])
        until(lambda: plane.ask("GET", "/v2/health/ready").status == 200)
        assert plane.ask("POST", INFER, v2(ROWS), ASYNC).status == 200
    finally:
        plane.stop()
