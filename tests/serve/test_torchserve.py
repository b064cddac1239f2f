"""TorchServe's APIs where endpoints come and go: archives, their handlers behind the walls, keys, counts."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from archives_for_tests import CLASS, FUNCTION, STEPS, archive
from dataplane_for_tests import Answered, DataPlane, until
from packages_for_tests import linear_answers, linear_package
from penstock.errors import Untrusted
from penstock.serve.acts import Enlist
from penstock.serve.enlisting import Enlisting, EnlistingTerms

ARCHIVER = Path(__file__).parents[2] / ".venv" / "peers" / "torchserve" / "bin" / "torch-model-archiver"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
FIELDS = {"Content-Type": "application/x-www-form-urlencoded"}
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def open_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """One that takes archives and packages from a folder at run time."""
    home = tmp_path_factory.mktemp("torchserve")
    (home / "models").mkdir()
    linear_package(home / "models" / "linear")
    archive(home / "models" / "echo.mar", FUNCTION)
    archive(home / "models" / "sums.mar", CLASS, name="sums", files={"weights.txt": "2.5"})
    archive(home / "models" / "steps.mar", STEPS, name="steps")
    plane = DataPlane(home)
    plane.start("--models", str(home / "models"), "--allow", "load", "--spares", "0", workers=1)
    until(lambda: len(plane.statuses()) == 1)
    try:
        yield plane
    finally:
        plane.stop()


def register(plane: DataPlane, url: str, more: str = "") -> Answered:
    return plane.ask("POST", f"/models?url={url}&initial_workers=1&synchronous=true{more}")


@pytest.fixture
def echo(open_plane: DataPlane) -> Iterator[DataPlane]:
    answer = register(open_plane, "echo.mar")
    assert answer.status == 200, answer.body
    assert answer.json == {"status": 'Model "echo" Version: 1 registered with 1 initial workers'}
    yield open_plane
    gone = open_plane.ask("DELETE", "/models/echo")
    assert gone.json == {"status": 'Model "echo" unregistered'}
    assert open_plane.ask("DELETE", "/models/echo").json["type"] == "ModelNotFoundException"


ANYTHING = bytes(range(256))


@pytest.mark.parametrize(
    ("body", "headers", "answer", "kind"),
    [
        (b'{"a": [1, 2]}', JSON, b'{"a": [1, 2]}', "application/json"),
        (b'{"a": [1, 2]}', FIELDS, b'{"a": [1, 2]}', "application/json"),
        (b"hello \xc3\xbc", TEXT, b"hello \xc3\xbc", "text/plain"),
        (b"data:no,url", TEXT, b"data:no,url", "text/plain"),
        (ANYTHING, BYTES, ANYTHING, "application/octet-stream"),
        (ANYTHING, {"Content-Type": "image/png"}, ANYTHING, "application/octet-stream"),
        (b"no JSON", JSON, b"no JSON", "application/octet-stream"),
        (b"", BYTES, b"", "application/octet-stream"),
        (b"a=1&b=x", FIELDS, b'{"a": "1", "b": "x"}', "application/json"),
    ],
)  # fmt: skip
def test_a_handler_gets_the_body_and_its_answer_comes_back(
    echo: DataPlane, body: bytes, headers: dict[str, str], answer: bytes, kind: str
) -> None:
    said = echo.ask("POST", "/predictions/echo", body, headers)
    assert (said.status, said.body, said.headers["content-type"]) == (200, answer, kind)


def test_a_form_comes_field_by_field(echo: DataPlane) -> None:
    parts = [
        ('form-data; name="data"; filename="a.txt"\r\nContent-Type: text/plain', "one"),
        ('form-data; name="k"', "2"),
    ]
    body = "".join(f"--b\r\nContent-Disposition: {head}\r\n\r\n{text}\r\n" for head, text in parts) + "--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    # Bytes are not JSON, so that the echo of the second part cannot be written: the handler's fault, without a stack.
    said = echo.ask("POST", "/predictions/echo", body, headers)
    assert (said.status, said.json["type"]) == (500, "InternalServerException")
    assert b"Traceback" not in said.body
    one = body[: body.index("--b\r\n", 2)] + "--b--\r\n"
    assert echo.ask("POST", "/predictions/echo", one, headers).json == {"data": "one"}


def test_another_dialect_asks_the_same_handler(echo: DataPlane) -> None:
    tensor = {"name": "body", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
    said = echo.ask("POST", "/v2/models/echo/infer", json.dumps({"inputs": [tensor]}))
    assert said.json["outputs"][0]["data"] == ["hello"]


def test_a_handler_cannot_be_explained(echo: DataPlane) -> None:
    said = echo.ask("POST", "/explanations/echo", b"hello", TEXT)
    assert (said.status, said.json["type"]) == (501, "NotImplementedException")


def test_what_is_said_of_a_handler(echo: DataPlane) -> None:
    (told,) = echo.ask("GET", "/models/echo").json
    assert (told["modelUrl"], told["runtime"], told["batchSize"]) == ("echo.mar", "python", 1)
    assert told["loadedAtStartup"] is False
    (worker,) = told["workers"]
    assert worker["status"] == "READY"
    assert worker["pid"] == echo.statuses()[0].pid
    assert worker["memoryUsage"] > 1 << 20
    assert register(echo, "echo.mar").json["type"] == "ConflictStatusException"


def test_classes_steps_and_packages(open_plane: DataPlane) -> None:
    try:
        assert register(open_plane, "sums.mar").status == 200
        assert register(open_plane, "steps.mar", "&model_name=lengths").status == 200
        assert register(open_plane, "linear").status == 200
        said = open_plane.ask("POST", "/predictions/sums", b"[1, 2, 3]", JSON)
        assert said.json == {"name": "sums", "sum": 15.0}
        assert open_plane.ask("POST", "/predictions/lengths", b"four", TEXT).body == b"8"
        probabilities = open_plane.ask("POST", "/predictions/linear", b"[1, 2, 3, 4]").json["probabilities"]
        wanted = linear_answers([[1, 2, 3, 4]])["probabilities"][0]
        assert probabilities == pytest.approx(wanted.tolist(), abs=1e-6)
        names = [one["modelName"] for one in open_plane.ask("GET", "/models").json["models"]]
        assert names == ["lengths", "linear", "sums"]
        assert len(list((open_plane.run / "archives").iterdir())) == 2
    finally:
        for name in ("sums", "lengths", "linear"):
            open_plane.ask("DELETE", f"/models/{name}")
    assert list((open_plane.run / "archives").iterdir()) == []
    assert (open_plane.run.parent / "models" / "linear" / "manifest.json").exists()


REFUSED = {
    # what is wrong: handler, status, a part of the answer
    "torch": ("import torch\ndef handle(data, context): return data", 400, "No module named 'torch'"),
    "TorchServe's base": ("from ts.torch_handler.base_handler import BaseHandler", 400, "No module named 'ts'"),
    "a syntax error": ("def handle(data, context", 400, "SyntaxError"),
    "no entry point": ("x = 1", 400, "the handler has no function handle"),
    "two classes": ("class A: pass\nclass B: pass", 400, "2 classes"),
    "it raises": ("def handle(data, context): raise ValueError('no')", 400, "ValueError"),
    "it ends itself": ("import os\nos._exit(3)", 400, "died"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_handler_that_cannot_be_loaded_is_refused(open_plane: DataPlane, tmp_path: Path, wrong: str) -> None:
    handler, status, part = REFUSED[wrong]
    place = Path(open_plane.run.parent / "models" / "broken.mar")
    archive(place, handler, name="broken")
    said = register(open_plane, "broken.mar")
    assert (said.status, said.json["type"]) == (status, "BadRequestException"), said.body
    assert part in said.json["message"]
    assert "Traceback" not in said.json["message"]
    assert open_plane.ask("GET", "/models/broken").status == 404


@pytest.mark.parametrize(
    "url", ["../x.mar", "/etc/passwd", "file:///etc/passwd", "https://example.com/x.mar", "missing.mar", "%00.mar"]
)
def test_only_what_lies_below_the_folder_is_taken(open_plane: DataPlane, url: str) -> None:
    said = register(open_plane, url)
    assert said.status in (400, 403, 404), said.body
    assert said.json["type"].endswith("Exception")


def test_an_archive_is_refused_where_packages_must_be_signed(tmp_path: Path) -> None:
    archive(tmp_path / "models" / "echo.mar", FUNCTION)
    for keys, refused in (([], True), (None, False)):
        terms = EnlistingTerms(models=(str(tmp_path / "models"),), released=False, keys=keys)
        enlisting = Enlisting(tmp_path, terms)
        with pytest.raises(Untrusted, match="must be signed") if refused else nullcontext():
            assert enlisting.plan(Enlist("", "echo.mar")).endpoint == "echo"


HOSTILE = """
import os, socket
def tried(what):
    try:
        return what() and "done"
    except OSError as error:
        return "refused"
def handle(data, context):
    if data is None:
        return None
    folder = context.system_properties["model_dir"]
    return [{
        "write": tried(lambda: open(os.path.join(folder, "x"), "w")),
        "passwd": tried(lambda: open("/etc/passwd")),
        "connect": tried(lambda: socket.create_connection(("127.0.0.1", PORT), 1)),
    } for one in data]
"""


def test_a_handler_runs_behind_the_walls(open_plane: DataPlane) -> None:
    place = open_plane.run.parent / "models" / "hostile.mar"
    archive(place, HOSTILE.replace("PORT", str(open_plane.port)), name="hostile")
    assert register(open_plane, "hostile.mar").status == 200
    try:
        said = open_plane.ask("POST", "/predictions/hostile", b"x", TEXT)
        assert said.json == dict.fromkeys(("write", "passwd", "connect"), "refused")
    finally:
        open_plane.ask("DELETE", "/models/hostile")


def test_a_wrong_number_of_answers_is_the_handlers_fault(open_plane: DataPlane) -> None:
    place = open_plane.run.parent / "models" / "short.mar"
    archive(place, "def handle(data, context): return []", name="short")
    assert register(open_plane, "short.mar").status == 200
    try:
        said = open_plane.ask("POST", "/predictions/short", b"x", TEXT)
        assert (said.status, said.json["type"]) == (500, "InternalServerException")
    finally:
        open_plane.ask("DELETE", "/models/short")


BATCHES = """
import time
def handle(data, context):
    if data is None:
        return None
    time.sleep(0.03)
    return [str(len(data))] * len(data)
"""


@pytest.mark.parametrize(("more", "most"), [("", 1), ("&batch_size=4", 4)])
def test_a_handler_gets_as_many_requests_at_once_as_was_said(open_plane: DataPlane, more: str, most: int) -> None:
    archive(open_plane.run.parent / "models" / "batches.mar", BATCHES, name="batches")
    assert register(open_plane, "batches.mar", more).status == 200
    try:
        assert open_plane.ask("GET", "/models/batches").json[0]["batchSize"] == most
        with ThreadPoolExecutor(12) as pool:
            ask = partial(open_plane.ask, "POST", "/predictions/batches", b"x", TEXT)
            sizes = {int(said.result().body) for said in [pool.submit(ask) for _ in range(36)]}
        assert max(sizes) == most
    finally:
        open_plane.ask("DELETE", "/models/batches")


def test_an_archives_version_is_the_endpoints(open_plane: DataPlane) -> None:
    archive(open_plane.run.parent / "models" / "second.mar", FUNCTION, name="second", modelVersion="2.0")
    said = register(open_plane, "second.mar")
    assert said.json == {"status": 'Model "second" Version: 2 registered with 1 initial workers'}
    try:
        assert open_plane.ask("POST", "/predictions/second/2.0", b"x", TEXT).body == b"x"
        assert open_plane.ask("POST", "/predictions/second/1.0", b"x", TEXT).status == 404
    finally:
        assert open_plane.ask("DELETE", "/models/second/2.0").status == 200


def test_an_answer_may_be_an_image(open_plane: DataPlane) -> None:
    source = "def handle(data, context):\n    return [bytes(one['body']) * 3 for one in data or []]"
    archive(open_plane.run.parent / "models" / "large.mar", source, name="large")
    assert register(open_plane, "large.mar").status == 200
    try:
        body = ANYTHING * 4096
        said = open_plane.ask("POST", "/predictions/large", body, BYTES)
        assert (said.status, said.body == body * 3) == (200, True)
    finally:
        open_plane.ask("DELETE", "/models/large")


@pytest.mark.skipif(not ARCHIVER.exists(), reason="`make bench-all` sets TorchServe's environment up")
def test_what_torch_model_archiver_makes_opens_here(open_plane: DataPlane, tmp_path: Path) -> None:
    (tmp_path / "my_handler.py").write_text(CLASS)
    (tmp_path / "weights.txt").write_text("3")
    models = open_plane.run.parent / "models"
    command = [str(ARCHIVER), "--model-name", "made", "--version", "1.0", "--handler", str(tmp_path / "my_handler.py")]
    command += ["--extra-files", str(tmp_path / "weights.txt"), "--export-path", str(models), "--force"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert register(open_plane, "made.mar").status == 200
    try:
        assert open_plane.ask("POST", "/predictions/made", b"[1, 2]", JSON).json == {"name": "made", "sum": 9.0}
    finally:
        open_plane.ask("DELETE", "/models/made")


# -- keys -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """One that asks for keys."""
    home = tmp_path_factory.mktemp("keyed")
    linear_package(home / "linear")
    plane = DataPlane(home)
    options = ["--package", str(home / "linear"), "--models", str(home), "--torchserve-keys", "--spares", "0"]
    plane.start(*options, workers=2)
    plane.number = 1
    try:
        plane.settled()
        yield plane
    finally:
        plane.stop()


def keys(plane: DataPlane) -> dict[str, dict[str, str]]:
    return json.loads((plane.run / "key_file.json").read_bytes())


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


ROW = "[1, 2, 3, 4]"
PREDICT = ("POST", "/predictions/linear", ROW)
LIST = ("GET", "/models", "")
V2 = ("GET", "/v2/models", "")
RENEW = ("GET", "/token?type=inference", "")


def test_the_key_file_is_its_owners_alone(keyed: DataPlane) -> None:
    assert stat.S_IMODE(os.stat(keyed.run / "key_file.json").st_mode) == 0o600
    found = keys(keyed)
    assert found.keys() == {"management", "inference", "API"}
    assert found["inference"].keys() == {"key", "expiration time"}
    assert found["API"].keys() == {"key"}


@pytest.mark.parametrize(
    ("asked", "kind", "status"),
    [
        (PREDICT, "inference", 200), (PREDICT, "management", 403), (PREDICT, "API", 403), (PREDICT, "", 400),
        (PREDICT, "bad", 400), (LIST, "management", 200), (V2, "management", 200),
        (RENEW, "management", 400), (RENEW, "inference", 400), (RENEW, "", 400),
        (("PUT", "/models/linear?min_worker=2", ""), "management", 202),
        (("PUT", "/models/linear?min_worker=2", ""), "inference", 403),
        (("GET", "/token?type=API", ""), "API", 400),
    ],
)  # fmt: skip
def test_each_key_is_for_one_api(keyed: DataPlane, asked: tuple[str, str, str], kind: str, status: int) -> None:
    method, path, body = asked
    key = keys(keyed)[kind]["key"] if kind in keys(keyed) else kind
    said = keyed.ask(method, path, body, with_key(key) if key else None)
    assert said.status == status, said.body
    if status == 400 and path != "/token?type=API":
        assert said.json["type"] == "InvalidKeyException"


def test_nobody_sees_anything_without_a_key(keyed: DataPlane) -> None:
    assert keyed.ask(*LIST).json == {"models": []}
    assert keyed.ask("GET", "/models/linear").status == 404
    assert keyed.ask("GET", "/metrics").status == 401
    assert keyed.ask("POST", "/v2/models/linear/infer", "{}").status == 401


def test_a_renewed_key_counts_at_once_in_every_worker(keyed: DataPlane) -> None:
    old = keys(keyed)
    assert keyed.ask(*RENEW, headers=with_key(old["API"]["key"])).status == 200
    new = keys(keyed)
    assert new["inference"]["key"] != old["inference"]["key"]
    assert new["management"] == old["management"]
    for _ in range(8):
        assert keyed.ask(*PREDICT, headers=with_key(new["inference"]["key"])).status == 200
        assert keyed.ask(*PREDICT, headers=with_key(old["inference"]["key"])).status == 400


def test_a_key_that_was_renewed_is_over_on_an_open_connection_too(keyed: DataPlane) -> None:
    """Usual requests of one head are answered without looking the token up again; not by a key that may be renewed."""
    old = keys(keyed)
    body = json.dumps({"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}]})
    head = f"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {old['inference']['key']}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    with socket.create_connection(("127.0.0.1", keyed.port), timeout=20) as wire:

        def asked() -> bytes:
            wire.sendall(request)
            return wire.recv(65536)[9:12]

        assert [asked() for _ in range(5)] == [b"200"] * 5
        assert keyed.ask(*RENEW, headers=with_key(old["API"]["key"])).status == 200
        assert asked() == b"401"


def test_counts_in_torchserves_names(keyed: DataPlane) -> None:
    headers = with_key(keys(keyed)["inference"]["key"])
    path = "/metrics?name[]=ts_inference_requests_total&name[]=ts_queue_latency_microseconds"
    before = counts(keyed.ask("GET", path, headers=headers))
    for _ in range(3):
        keyed.ask(*PREDICT, headers=headers)
    after = counts(keyed.ask("GET", path, headers=headers))
    assert {name.partition("{")[0] for name in after} == {
        "ts_inference_requests_total",
        "ts_queue_latency_microseconds",
    }
    (mine,) = [name for name in after if name.startswith("ts_inference") and 'model_version="1"' in name]
    assert after[mine] - before.get(mine, 0) == 3
    assert 'model_name="linear"' in mine
    assert "hostname=" in mine


def counts(answer: Answered) -> dict[str, float]:
    lines = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
