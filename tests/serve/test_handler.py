"""A handler answers what the server answers, from any thread, in forked processes, within the time it is given."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.reliability.models_for_tests import python_package

from dataplane_for_tests import DataPlane
from packages_for_tests import flights_like, linear_package, slow_package
from penstock.build.sign import sign_folder
from penstock.errors import ModelFailed, Untrusted
from penstock.log.tail import Tail
from penstock.packages.keys import load_or_create_package_key
from penstock.records import Exchange, Limits
from penstock.serve.calls import Reply
from penstock.serve.handler import Handler, HandlerOptions
from penstock.serve.pace import Pace

DIALECTS = Path(__file__).parents[1] / "contracts" / "dialects"
PREDICT = "/v1/models/linear:predict"
BODY = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()


def cases() -> list[tuple[str, dict]]:
    """Every dialect's requests to one of the two endpoints, where no platform's environment decides."""
    found = []
    for path in sorted(DIALECTS.glob("*.json")):
        dialect = json.loads(path.read_text())
        if dialect.get("environment") or dialect.get("options"):
            continue
        for case in dialect["good"] + dialect["bad"]:
            if "linear" in case["ask"] or "flights" in case["ask"]:
                found.append(pytest.param(case, id=f"{path.stem}: {case['what']}"))
    return found


@pytest.fixture(scope="module")
def handlers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Handler]]:
    home = tmp_path_factory.mktemp("handlers")
    builders = {"linear": linear_package, "flights": flights_like}
    made = {}
    for name, builder in builders.items():
        builder(home / name)
        made[name] = Handler(home / name)
    yield made
    for one in made.values():
        one.close()


def body_of(case: dict) -> bytes:
    if "json" in case:
        return json.dumps(case["json"]).encode()
    if "lines" in case:
        return b"".join(json.dumps(line).encode() + b"\n" for line in case["lines"])
    return base64.b64decode(case["base64"]) if "base64" in case else case.get("text", "").encode()


def headers_of(reply: Reply) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in reply.headers.decode().split("\r\n") if line)


def header(reply: Reply, name: str) -> str:
    return headers_of(reply).get(name, "")


def masked(body: bytes, own_id: str) -> bytes:
    """Without what differs between any two answers: ids and times, and what has been counted so far."""
    if body.startswith(b'{"model_stats":'):
        return re.sub(rb'"batch_stats":\[.*?\],|:[0-9]+', b"", body)
    body = re.sub(rb'"time":"[^"]*"|"\w*_ms":[0-9.]+', b"TIME", body)
    return re.sub(rb'"prediction_id":"\w+"|"id":"[0-9a-f]{20}"', b"ID", body.replace(own_id.encode(), b"ID"))


@pytest.mark.parametrize("case", cases())
def test_answers_what_the_server_answers(plane: DataPlane, handlers: dict[str, Handler], case: dict) -> None:
    handler = handlers["flights" if "flights" in case["ask"] else "linear"]
    method, _, target = case["ask"].partition(" ")
    headers = case.get("headers", {})
    asked = plane.ask(method, target, body_of(case), headers)
    reply = handler.ask(method, target, headers.items(), body_of(case))
    assert reply.status == asked.status, (reply.body, asked.body)
    theirs, ours = (
        headers.get("x-prediction-id", headers.get("x-explanation-id", "-"))
        for headers in (asked.headers, headers_of(reply))
    )
    if method != "HEAD" and "connection" not in case.get("headers", {}):
        assert reply.content_type.decode() == asked.headers["content-type"]
        assert masked(reply.body, ours) == masked(asked.body, theirs)


def test_threads_ask_at_once_and_each_gets_its_own(handlers: dict[str, Handler]) -> None:
    def one(number: int) -> tuple[int, int, str]:
        row = [number % 2 * 10 - 5] * 4
        reply = handlers["linear"].ask("POST", PREDICT, (), json.dumps({"instances": [row]}).encode())
        return number % 2, json.loads(reply.body)["predictions"][0]["label"], header(reply, "x-prediction-id")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(400)))
    assert all(wanted == label for wanted, label, _ in answers)
    assert len({own for _, _, own in answers}) == 400


@pytest.mark.parametrize("asked_before", [False, True], ids=["opened", "asked"])
def test_a_fork_answers_with_ids_and_counters_of_its_own(tmp_path: Path, asked_before: bool) -> None:
    linear_package(tmp_path / "linear")
    code = f"""
import json, os, sys
from pathlib import Path
from penstock.serve.handler import Handler
def ask():
    reply = handler.ask("POST", {PREDICT!r}, (), {BODY!r})
    count = handler.ask("GET", "/metrics").body.split(b'penstock_requests_total{{')[1].split()[1].decode()
    return f"{{reply.status}} {{reply.headers.split()[1].decode()}} {{count}}"
handler = Handler(Path({str(tmp_path / "linear")!r}))
if {asked_before}:
    print("parent", ask(), flush=True)
for _ in range(2):
    child = os.fork()
    if not child:
        print("child", ask(), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print("parent", ask(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[1] for line in lines] == ["200"] * len(lines)
    assert len({line[2] for line in lines}) == len(lines)
    prefixes = {line[2][:12] for line in lines if line[0] == "child"}
    assert len(prefixes) == 2, "each process counts its predictions by a prefix of its own"
    assert [line[3] for line in lines if line[0] == "child"] == ["1", "1"]


SANDBOXED = """
import os

class Doubles:
    def __getstate__(self):
        return dict(loaded=True)

    def __setstate__(self, state):
        self.token = int.from_bytes(os.urandom(4), "big")

    def predict(self, rows):
        return rows[:, 0] * 0 + self.token if rows[0, 0] == 99 else rows[:, 0] * 2
"""


def test_a_model_in_the_sandbox_is_opened_anew_in_a_fork(tmp_path: Path) -> None:
    python_package(tmp_path / "p", SANDBOXED, name="p")
    code = f"""
import json, os
from pathlib import Path
from penstock.serve.handler import Handler
def ask():
    return handler.ask("POST", "/v1/models/p:predict", (), b'{{"instances":[[99]]}}', within_s=20)
handler = Handler(Path({str(tmp_path / "p")!r}))
print("parent", json.loads(ask().body)["predictions"], flush=True)
child = os.fork()
if not child:
    print("child", json.loads(ask().body)["predictions"], flush=True)
    handler.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent", json.loads(ask().body)["predictions"], flush=True)
handler.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    parent, child, _ = (line.split() for line in done.stdout.splitlines())
    assert (parent[0], child[0]) == ("parent", "child")
    assert parent[1] != child[1], "each has processes of its own"


def test_nothing_unique_exists_before_the_first_call(tmp_path: Path) -> None:
    """A snapshot of the memory after opening is restored many times."""
    linear_package(tmp_path / "linear")
    threads = threading.active_count()
    handler = Handler(tmp_path / "linear")
    assert threading.active_count() == threads
    handler.close()


def test_whoever_waits_is_told_within_their_time(tmp_path: Path) -> None:
    slow_package(tmp_path / "slow", rounds=4000)
    handler = Handler(tmp_path / "slow")
    body = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
    asked = time.perf_counter()
    assert handler.ask("POST", "/v1/models/slow:predict", (), body).status == 200
    whole_s = time.perf_counter() - asked
    asked = time.perf_counter()
    reply = handler.ask("POST", "/v1/models/slow:predict", (), body, within_s=whole_s / 5)
    assert (reply.status, time.perf_counter() - asked < whole_s * 0.8) == (504, True)
    handler.close()


def test_whoever_waits_is_told_even_while_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was expected to be quick runs on the event loop itself, which then hears nobody."""
    slow_package(tmp_path / "slow", rounds=4000)
    monkeypatch.setattr("penstock.serve.handler.measure", lambda *_, **__: Pace([(1, 1e-6)]))
    handler = Handler(tmp_path / "slow")
    asked = time.perf_counter()
    assert handler.ask("POST", "/v1/models/slow:predict", (), BODY).status == 200
    whole_s = time.perf_counter() - asked
    asked = time.perf_counter()
    reply = handler.ask("POST", "/v1/models/slow:predict", (), BODY, within_s=whole_s / 4)
    assert (reply.status, time.perf_counter() - asked < whole_s * 0.8) == (504, True)
    assert handler.ask("POST", "/v1/models/slow:predict", (), BODY).status == 200, "and the next one is answered"
    handler.close()


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_number_too_large_is_refused_and_not_warned_of(handlers: dict[str, Handler]) -> None:
    reply = handlers["linear"].ask("POST", PREDICT, (), b'{"instances":[[1,2,1e39,4]]}')
    assert (reply.status, b"inputs.X" in reply.body) == (400, True)


def test_the_nearer_deadline_counts(handlers: dict[str, Handler]) -> None:
    ask = handlers["linear"].ask
    assert ask("POST", PREDICT, [("x-deadline-ms", "0.0001")], BODY, within_s=20).status == 504
    assert ask("POST", PREDICT, [("x-deadline-ms", "20000")], BODY, within_s=1e-6).status == 504
    assert ask("POST", PREDICT, [("x-deadline-ms", "soon")], BODY, within_s=20).status == 400


def test_an_answer_in_events_comes_whole(handlers: dict[str, Handler]) -> None:
    body = json.dumps({"instances": [[row, 0, 0, 0] for row in range(7)]}).encode()
    reply = handlers["linear"].ask("POST", f"{PREDICT}?rows=2", [("accept", "text/event-stream")], body)
    assert (reply.status, reply.content_type) == (200, b"text/event-stream")
    pieces = [json.loads(line[6:]) for line in reply.body.splitlines() if line.startswith(b"data: {")]
    assert [len(one["predictions"]) for one in pieces] == [2, 2, 2, 1]


@pytest.mark.parametrize("name", ["x-request-id", "x"])
def test_a_header_with_a_line_end_is_refused(handlers: dict[str, Handler], name: str) -> None:
    assert handlers["linear"].ask("POST", PREDICT, [(name, "a\r\nset-cookie: b")], BODY).status == 400
    assert handlers["linear"].ask("POST", PREDICT, [(":query", "a=b")], BODY).status == 400


def test_bodies_are_held_to_the_limit_packed_and_unpacked(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    handler = Handler(tmp_path / "linear", HandlerOptions(body_bytes=100))
    assert handler.ask("POST", PREDICT, (), BODY).status == 200
    assert handler.ask("POST", PREDICT, (), BODY + b" " * 100).status == 413
    packed = gzip.compress(BODY + b" " * 100)
    assert handler.ask("POST", PREDICT, [("content-encoding", "gzip")], packed).status == 413
    handler.close()


def test_a_token_is_asked_for_where_there_is_one(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    handler = Handler(tmp_path / "linear", HandlerOptions(token="pst_secret"))
    assert handler.ask("POST", PREDICT, (), BODY).status == 401
    assert handler.ask("GET", "/metrics").status == 401
    assert handler.ask("POST", PREDICT, [("Authorization", "Bearer pst_other")], BODY).status == 401
    assert handler.ask("POST", PREDICT, [("Authorization", "Bearer pst_secret")], BODY).status == 200
    handler.close()


def test_answers_are_logged_before_they_are_given(tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    options = HandlerOptions(log=tmp_path / "log", limits=Limits(log="normal"), version=3)
    handler = Handler(tmp_path / "linear", options)
    tail = Tail(tmp_path / "log", Exchange)
    for _ in range(20):
        reply = handler.ask("POST", PREDICT, [("x-routing-key", "ann")], BODY)
        (exchange,) = tail.read()
        assert (exchange.id, exchange.version, exchange.key) == (header(reply, "x-prediction-id"), 3, "ann")
    handler.close()


def test_what_it_leaves_behind_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    linear_package(tmp_path / "linear")
    threads = threading.active_count()
    for _ in range(3):
        handler = Handler(tmp_path / "linear")
        handler.ask("POST", PREDICT, (), BODY)
        assert os.listdir(tmp_path / "tmp")
        handler.close()
        handler.close()
    assert os.listdir(tmp_path / "tmp") == []
    end = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == threads


def test_what_is_not_the_package_does_not_open(tmp_path: Path) -> None:
    digest = linear_package(tmp_path / "linear")
    key, other = (load_or_create_package_key(tmp_path / name) for name in ("ours", "theirs"))
    public = tmp_path / "ours" / "package.pub"
    with pytest.raises(Untrusted):
        Handler(tmp_path / "linear", HandlerOptions(key=public))
    sign_folder(tmp_path / "linear", other)
    with pytest.raises(Untrusted):
        Handler(tmp_path / "linear", HandlerOptions(key=public))
    sign_folder(tmp_path / "linear", key)
    Handler(tmp_path / "linear", HandlerOptions(key=public, digest=digest)).close()
    with pytest.raises(Untrusted):
        Handler(tmp_path / "linear", HandlerOptions(digest="sha256:" + "0" * 64))
    linear_package(tmp_path / "wrong", wrong=True)
    with pytest.raises(ModelFailed):
        Handler(tmp_path / "wrong")


def test_loads_neither_the_server_nor_what_it_needs() -> None:
    code = "import sys, penstock.serve.functions.aws_lambda; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "penstock.serve.handler" in loaded
    heavy = {"uvloop", "httptools", "hpack", "google", "pandas", "fastapi", "yaml", "multiprocessing", "cryptography"}
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert not {"penstock.serve.worker", "penstock.serve.supervisor", "penstock.serve.listeners.http"} & set(loaded)
