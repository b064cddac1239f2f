"""The listener at the level of bytes: what it refuses, in which order it answers, when it closes."""

from __future__ import annotations

import re
import socket
import time

import pytest

from dataplane_for_tests import DataPlane, v2

BODY = v2([[1.0, 2.0, 3.0, 4.0]]).encode()
HOST = b"Host: localhost\r\n"
POST = b"POST /v2/models/linear/infer HTTP/1.1\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\n"


def post(body: bytes, *headers: bytes) -> bytes:
    return POST + HOST + b"".join(h + b"\r\n" for h in headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1.1 (\d+) ", answer)]


def requests_seen(plane: DataPlane) -> int:
    text = plane.ask("GET", "/metrics").body
    return sum(int(n) for n in re.findall(rb"penstock_requests_total{.*} (\d+)", text))


ATTACKS = {
    "both lengths": POST + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + LIVE,
    "both lengths, turned": POST + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + LIVE,
    "two lengths": POST + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "two equal lengths": POST + HOST + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "length list": POST + HOST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "negative length": POST + HOST + b"Content-Length: -1\r\n\r\n",
    "plus length": POST + HOST + b"Content-Length: +4\r\n\r\nabcd",
    "length beyond 64 bits": POST + HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "chunked twice": POST + HOST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown coding": POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": POST + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bare line feeds": b"GET /v2/health/live HTTP/1.1\nHost: localhost\n\n",
    "bare line feed in a header": LIVE + b"Host: localhost\nX: y\r\n\r\n",
    "folded header": LIVE + HOST + b"X: a\r\n b\r\n\r\n",
    "NUL in a header": LIVE + HOST + b"X: a\0b\r\n\r\n",
    "NUL in the path": b"GET /v2\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "space before the colon": LIVE + HOST + b"Content-Length : 4\r\n\r\nabcd",
    "two hosts": LIVE + HOST + HOST + b"\r\n",
    "no host": LIVE + b"\r\n",
    "no version": b"GET /v2/health/live\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_doubtful_framing_is_refused_and_the_connection_closed(plane: DataPlane, attack: str) -> None:
    before = requests_seen(plane)
    answer = plane.raw(ATTACKS[attack])
    assert statuses(answer) in ([400], [501]), answer
    assert b"connection: close" in answer
    assert requests_seen(plane) == before, "nothing hidden in it reached a model"


@pytest.mark.parametrize(
    "head",
    [
        LIVE + HOST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
        LIVE + HOST + b"".join(b"X%d: y\r\n" % i for i in range(10_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        LIVE + HOST + b"X: " + b"a" * 100_000,
    ],
    ids=["one header of a megabyte", "ten thousand headers", "a long path", "a header without end"],
)
def test_large_heads_are_refused(plane: DataPlane, head: bytes) -> None:
    assert statuses(plane.raw(head)) == [431]


def test_a_giant_body_is_refused_before_it_is_read(plane: DataPlane) -> None:
    answer = plane.raw(POST + HOST + b"Content-Length: 1000000000\r\n\r\n")
    assert statuses(answer) == [413]


def test_a_giant_chunked_body_is_refused_at_the_limit(plane: DataPlane) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    answer = plane.raw(POST + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 66)
    assert statuses(answer) in ([413], []), "refused, or reset while we were still sending"
    assert plane.ask("GET", "/v2/health/live").status == 200


def test_a_bomb_is_refused_at_the_limit(plane: DataPlane) -> None:
    import gzip

    bomb = gzip.compress(bytes(200 << 20))
    assert plane.ask("POST", "/v2/models/linear/infer", bomb, {"Content-Encoding": "gzip"}).status == 413
    cut = gzip.compress(BODY)[:-4]
    assert plane.ask("POST", "/v2/models/linear/infer", cut, {"Content-Encoding": "gzip"}).status == 400
    assert plane.ask("POST", "/v2/models/linear/infer", BODY, {"Content-Encoding": "br"}).status == 400


def test_chunked_bodies_are_read(plane: DataPlane) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:]))
    request = POST + HOST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert statuses(plane.raw(request)) == [200]


def test_pipelined_requests_are_answered_in_order(plane: DataPlane) -> None:
    asked = [post(v2([[float(i), 0.0, 0.0, 0.0]], id=f"n{i}").encode()) for i in range(100)]
    asked.insert(50, LIVE + HOST + b"\r\n")
    asked.insert(70, post(b"{"))
    answer = plane.raw(b"".join(asked) + LIVE + HOST + b"Connection: close\r\n\r\n")
    assert [int(i) for i in re.findall(rb'"id":"n(\d+)"', answer)] == list(range(100))
    assert statuses(answer) == [400 if i == 70 else 200 for i in range(103)]


def test_bytes_may_come_one_by_one(plane: DataPlane) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as wire:
        for byte in post(BODY, b"Connection: close"):
            wire.send(bytes([byte]))
        assert statuses(wire.recv(65536)) == [200]


def test_expect_continue_is_answered_before_the_body(plane: DataPlane) -> None:
    head, _, body = post(BODY, b"Expect: 100-continue").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as wire:
        wire.sendall(head + b"\r\n\r\n")
        assert wire.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.sendall(body)
        assert statuses(wire.recv(65536)) == [200]


def test_http_1_0_and_connection_close_are_closed_after_the_answer(plane: DataPlane) -> None:
    for request in (b"GET /v2/health/live HTTP/1.0\r\n\r\n", LIVE + HOST + b"Connection: close\r\n\r\n"):
        started = time.monotonic()
        assert statuses(plane.raw(request)) == [200]
        assert time.monotonic() - started < 2.5, "closed by the server, not by our patience"


def test_a_client_that_only_stops_sending_still_gets_its_answer(plane: DataPlane) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as wire:
        wire.sendall(post(BODY))
        wire.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    assert statuses(answer) == [200]


@pytest.mark.serial
def test_slow_clients_are_closed_and_harm_nobody(plane: DataPlane) -> None:
    slow = [socket.create_connection(("127.0.0.1", plane.port)) for _ in range(60)]
    for index, wire in enumerate(slow):
        if index < 30:
            wire.sendall(LIVE + b"X: ")
        else:
            wire.sendall(POST + HOST + b"Content-Length: 1000\r\n\r\n{")
    started = time.monotonic()
    closed: set[int] = set()
    while len(closed) < len(slow) and time.monotonic() - started < 12:
        assert plane.ask("POST", "/v2/models/linear/infer", BODY).status == 200
        for index, wire in enumerate(slow):
            if index not in closed and _closed(wire):
                closed.add(index)
        time.sleep(0.2)
    for wire in slow:
        wire.close()
    assert len(closed) == len(slow)


def _closed(wire: socket.socket) -> bool:
    wire.setblocking(False)
    try:
        answer = wire.recv(4096)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    assert answer == b"" or statuses(answer) == [408]
    return True


def test_head_has_a_length_and_no_body(plane: DataPlane) -> None:
    answer = plane.raw(b"HEAD /v2/health/live HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert answer.endswith(b"content-length: 13\r\n\r\n")
