"""The closed loop of clients, against a server whose answers and faults are known."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from penstock.tuning.driver import Driver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 429 Too Many\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def server(answer: bytes, *, wait_s: float = 0.0, close: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Reads whole requests of a known length, answers each."""
    listening = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def talk(wire: socket.socket) -> None:
        with wire, suppress(ConnectionError):
            while head := wire.recv(1 << 20):
                while not head.endswith(b"END"):
                    head += wire.recv(1 << 20)
                heard.append(head)
                time.sleep(wait_s)
                wire.sendall(answer)
                if close:
                    return

    def accept() -> None:
        while True:
            try:
                wire, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(wire,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield listening.getsockname()[1], heard
        listening.shutdown(socket.SHUT_RDWR)


def test_every_request_is_asked_in_turn_and_timed() -> None:
    with server(OK, wait_s=0.02) as (port, heard):
        driver = Driver(port, [b"one END", b"two END", b"three END"])
        try:
            sample = driver.drive(4, 0.5)
            assert sample.failed == 0
            assert {b"one END", b"two END", b"three END"} == set(heard)
            assert 0 <= len(heard) - len(sample.latencies_s) <= 4
            assert min(sample.latencies_s) >= 0.02
            assert len(sample.latencies_s) <= 4 * 0.5 / 0.02 + 4, "a connection waits for its answer"
            assert 0 < sample.busy < 1
            assert len(driver.drive(1, 0.2).latencies_s) < len(sample.latencies_s)
        finally:
            driver.close()


@pytest.mark.parametrize(("answer", "close"), [(BUSY, False), (b"", True)])
def test_what_is_refused_or_broken_off_is_a_failure_and_the_load_goes_on(answer: bytes, close: bool) -> None:
    with server(answer, wait_s=0.01, close=close) as (port, heard):
        driver = Driver(port, [b"END"])
        try:
            sample = driver.drive(2, 0.3)
        finally:
            driver.close()
        assert not len(sample.latencies_s)
        assert 2 < sample.failed <= len(heard)


def test_a_large_request_and_a_large_answer_arrive_whole() -> None:
    body = b"x" * 3_000_000
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + body) as (port, heard):
        driver = Driver(port, [body + b"END"])
        try:
            sample = driver.drive(3, 0.5)
        finally:
            driver.close()
    assert len(sample.latencies_s) > 2
    assert sample.failed == 0
    assert set(map(len, heard)) == {3_000_003}


def test_a_server_that_is_not_there_is_said() -> None:
    driver = Driver(1, [b"END"])
    try:
        with pytest.raises(EOFError):
            driver.drive(1, 0.1)
    finally:
        driver.close()
