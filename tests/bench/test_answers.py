"""Every answer is checked: right ones pass in every dialect's form, and each kind of wrong one is caught."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from bench import wire
from bench.profile import shares_of, step_of
from bench.traffic import Answer, Floats, Traffic, fault
from bench.witness import Witness

EXPECTED = np.array([[0.25, 0.75], [0.9, 0.1]])


def read(answer: Answer) -> Floats:
    return np.array(json.loads(answer.body)["probabilities"], np.float64).ravel()


TRAFFIC = Traffic("/predict", {}, [b'{"inputs":[[1.0]]}', b'{"inputs":[[2.0]]}'], EXPECTED, read)


def answered(values: object, status: int = 200) -> Answer:
    return Answer(status, {}, json.dumps({"probabilities": values}).encode())


def test_a_right_answer_has_no_fault() -> None:
    assert fault(TRAFFIC, 0, answered([[0.25, 0.75]])) == ""
    assert fault(TRAFFIC, 0, answered([[0.250001, 0.749999]])) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (answered([[0.26, 0.74]]), "off by"),
        (answered([[0.9, 0.1]]), "off by"),
        (answered([[float("nan"), 0.75]]), "off by"),
        (answered([[0.25, 0.75], [0.25, 0.75]]), "4 numbers instead of 2"),
        (answered([[0.25, 0.75]], 500), "status 500"),
        (Answer(200, {}, b"{}"), "no numbers"),
        (Answer(200, {}, b"oops"), "no numbers"),
    ],
)
def test_a_wrong_answer_is_caught(answer: Answer, why: str) -> None:
    assert why in fault(TRAFFIC, 0, answer)


def test_a_grpc_answer_is_read_raw_and_typed() -> None:
    numbers = np.array([0.25, 0.75], np.float32)
    described = b"\x0a\x01y" + b"\x12\x04FP32" + b"\x1a\x02\x01\x02"
    raw = b"\x0a\x05small" + b"\x2a" + bytes([len(described)]) + described + b"\x32\x08" + numbers.tobytes()
    assert wire.last_output(raw).tolist() == [0.25, 0.75]
    contents = b"\x32\x08" + numbers.tobytes()
    typed = described + b"\x2a" + bytes([len(contents)]) + contents
    assert wire.last_output(b"\x2a" + bytes([len(typed)]) + typed).tolist() == [0.25, 0.75]
    with pytest.raises(LookupError):
        wire.last_output(b"\x0a\x05small")


def test_a_grpc_request_is_what_the_protocol_says() -> None:
    made = wire.infer_request("small", "X", np.array([[1.0, 2.0]], np.float32))
    tensor = b"\x0a\x01X" + b"\x12\x04FP32" + b"\x1a\x02\x01\x02"
    assert made == b"\x0a\x05small" + b"\x2a\x0d" + tensor + b"\x3a\x08" + struct.pack("<2f", 1, 2)


@pytest.fixture
def mixing() -> Iterator[int]:
    """A server that answers every third request with another caller's row."""
    count = iter(range(1_000_000))

    class Mixing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"][0][0]
            row = int(asked) - 1 if next(count) % 3 else 2 - int(asked)
            body = json.dumps({"probabilities": EXPECTED[row].tolist()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mixing)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_witness_sees_a_server_that_mixes_up_rows(mixing: int) -> None:
    with Witness(mixing, TRAFFIC) as witness:
        while witness.checked < 9:
            pass
    assert witness.faults
    assert len(witness.faults) < witness.checked
    assert all("off by" in one for one in witness.faults)


def test_the_witness_sees_a_server_that_is_gone() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with Witness(port, TRAFFIC) as witness:
        while not witness.checked:
            pass
    assert len(witness.faults) == witness.checked


def test_a_stack_is_put_into_the_step_of_its_innermost_frame_of_ours() -> None:
    root = ["main (penstock/serve/worker.py:293)", "Loop__run (loop.c:20313)"]
    visit = "Visit.done (penstock/serve/visit.py:120)"
    assert step_of([*root, "uv__write (stream.c:1)", "write (libc.so.6)"]) == "socket write"
    journal = "Journal.write (penstock/log/journal.py:80)"
    assert step_of([*root, visit, journal, "write (libc.so.6)"]) == "inference log: write"
    assert step_of([*root, visit, "V2Protocol.encode (penstock/serve/protocols/v2.py:9)"]) == "encode the answer"
    assert step_of([*root, visit, "V2Protocol.decode (penstock/serve/protocols/v2.py:9)"]) == "decode the body"
    assert step_of([*root, visit, "run (onnxruntime/capi/x.py:1)"]) == "ONNX Runtime"


def test_threads_that_wait_are_no_part_of_the_path() -> None:
    waiting = "a (x.py:1);Thread._bootstrap (threading.py:1);futex (libc.so.6) 900"
    idle = "a (x.py:1);uv__io_poll (linux.c:1);epoll_pwait (libc.so.6) 50"
    assert shares_of(f"{waiting}\n{idle}\na (x.c:1);write (libc.so.6) 3\nb (y.c:2) 1") == {
        "socket write": 0.75,
        "event loop (uvloop, asyncio)": 0.25,
    }
