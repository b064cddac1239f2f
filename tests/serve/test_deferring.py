"""Requests that are answered later: acknowledged means durable, whoever dies meanwhile; nobody sees another's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from listener_for_tests import Listener
from packages_for_tests import linear_package, slow_package
from penstock.access.tokens import token_sha256
from penstock.errors import Overloaded
from penstock.records import Grant, Limits, decode
from penstock.serve.board import Board
from penstock.serve.calls import Call, Reply
from penstock.serve.deferrals import TRIES, Deferral, Deferrals, DeferredReply, new_id
from penstock.serve.deferring import Deferring
from penstock.serve.listeners.door import Door

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
        assert (plane.run / "jobs").stat().st_mode & 0o777 == 0o700
        assert plane.ask("GET", f"/jobs/{job}/result", headers=bob).status == 404
        assert plane.ask("GET", f"/jobs/{job}/result").status == 404
        assert plane.ask("DELETE", f"/jobs/{job}", headers=bob).status == 404
        kept = b"".join(path.read_bytes() for path in (plane.run / "jobs").iterdir())
        assert b"ann" in kept
        assert b"Bearer" not in kept, "no token is written down"
    finally:
        plane.stop()


async def test_only_headers_that_dialects_read_are_written_down(tmp_path: Path) -> None:
    secret = dict.fromkeys(
        (b"x-api-key", b"x-amz-security-token", b"proxy-authorization", b"any", b"cookie"), b"hidden"
    )
    headers = {**secret, b"content-type": b"text/csv", b"x-routing-key": b"seen", b"ce-id": b"1"}
    told: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    deferring = Deferring(tmp_path / "jobs", Board(loopback=True), lambda *_: None)
    deferring.accept(Call("POST", INFER, headers, b"{}", time.time(), 0.0), "", told.set_result)
    assert (await told).status == 202
    (call,) = (tmp_path / "jobs").glob("*.call")
    assert b"hidden" not in call.read_bytes()
    kept = decode(call.read_bytes(), Deferral).headers
    assert kept == {"content-type": b"text/csv", "x-routing-key": b"seen", "ce-id": b"1"}


def deferral(own_id: str = "") -> Deferral:
    return Deferral(
        id=own_id or new_id(), owner="", method="POST", path=INFER, headers={}, body=b"{}", accepted_at=time.time()
    )


def test_what_another_worker_finishes_meanwhile_troubles_nobody(tmp_path: Path) -> None:
    kept = Deferrals(tmp_path)
    (tmp_path / "gone.call").symlink_to("nowhere")
    one = deferral()
    kept.accept(one)
    assert [claim.deferral.id for claim in kept.claims()] == [one.id]


def test_a_disk_that_fails_once_keeps_no_call_for_good(tmp_path: Path) -> None:
    kept, one = Deferrals(tmp_path), deferral()
    kept.accept(one)
    (tmp_path / f"{one.id}.tries").mkdir()
    with pytest.raises(OSError, match="directory"):
        list(kept.claims())
    (tmp_path / f"{one.id}.tries").rmdir()
    assert [claim.tries for claim in kept.claims()] == [1]


def test_replies_that_nobody_removes_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, one = Deferrals(tmp_path), deferral()
    kept.accept(one)
    (claim,) = kept.claims()
    reply = DeferredReply(
        id=one.id, owner="", status=200, body=b"x" * 100, content_type=b"", headers=b"", accepted_at=0.0, ended_at=0.0
    )
    kept.finish(claim, reply)
    monkeypatch.setattr("penstock.serve.deferrals.MOST_KEPT_BYTES", 100)
    with pytest.raises(Overloaded):
        Deferrals(tmp_path).accept(deferral())
    kept.forget(one.id)
    Deferrals(tmp_path).accept(deferral())


def test_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    kept, one = Deferrals(tmp_path), deferral()
    kept.accept(one)
    left = [tmp_path / ".tmp-x.reply-1", tmp_path / f"{new_id()}.tries", tmp_path / f"{new_id()}.reply"]
    for path in left:
        path.write_bytes(b"x")
        os.utime(path, (1.0, 1.0))
    kept.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {f"{one.id}.call"}


def test_who_drains_waits_until_what_is_on_the_disk_is_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a client would see its connection end, and send again what is stored already."""
    synced, go_on = threading.Event(), threading.Event()
    accept = Deferrals.accept

    def slowly(kept: Deferrals, one: Deferral) -> None:
        accept(kept, one)
        synced.set()
        go_on.wait(20)

    monkeypatch.setattr(Deferrals, "accept", slowly)

    async def drained() -> None:
        listener = Listener(tmp_path)
        digest = linear_package(tmp_path / "linear")
        await listener.show(route("linear", digest), packages={digest: str(tmp_path / "linear")})
        listener.flow.deferring = Deferring(tmp_path / "jobs", listener.board, listener.flow.resume)
        client = listener.client()
        door = Door(listener.state)
        client.send(INFER, v2(ROWS).encode(), "Prefer: respond-async\r\n")
        assert await asyncio.to_thread(synced.wait, 20)
        listener.board.draining = True
        door.close_idle()
        assert (door.held(), client.wire.closed) == (1, False)
        go_on.set()
        assert (await client.hear()).status == 202
        assert door.held() == 0
        listener.close()

    asyncio.run(drained())
    assert len(list((tmp_path / "jobs").glob("*.call"))) == 1


def test_a_job_that_meets_a_fault_of_ours_is_answered_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Reply] = []

    def odd(*_: object) -> object:
        raise LookupError("a secret of ours")

    async def resumed() -> None:
        listener = Listener(tmp_path)
        monkeypatch.setattr(listener.flow, "_match", odd)
        listener.flow.resume(Call("POST", INFER, {}, b"", 0.0, 0.0), "", answers.append)
        listener.close()

    asyncio.run(resumed())
    assert [answer.status for answer in answers] == [500]
    assert b"secret" not in answers[0].body
    assert json.loads(answers[0].body)["id"] in caplog.text
    assert "a secret of ours" in caplog.text


def test_a_job_that_cannot_be_run_is_logged_and_not_tried_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept, one = Deferrals(tmp_path), deferral()
    kept.accept(one)

    def odd(*_: object) -> None:
        raise LookupError("no way")

    async def answered() -> None:
        running = asyncio.create_task(Deferring(tmp_path, Board(loopback=True), odd).run())
        async with asyncio.timeout(30):
            while kept.reply(one.id, "") is None:
                await asyncio.sleep(0.05)
        running.cancel()

    asyncio.run(answered())
    found = kept.reply(one.id, "")
    assert found is not None
    assert found.status == 500
    assert caplog.text.count("LookupError: no way") == TRIES


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
