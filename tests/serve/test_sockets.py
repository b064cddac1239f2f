"""All the sockets of a data plane: who holds them, who may reach them, and that a worker's death refuses nobody."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import grpc
import pytest

from dataplane_for_tests import DataPlane, route, until, v2
from http2_for_tests import INFER, infer_request
from packages_for_tests import linear_package
from penstock.errors import BadConfig
from penstock.serve.sockets import listen_unix

BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def over_unix(path: Path, body: str = BODY) -> bytes:
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(10)
        wire.connect(str(path))
        head = f"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        wire.sendall((head + "Connection: close\r\n\r\n" + body).encode())
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
        return answer


def test_a_unix_socket_is_this_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0)
    try:
        with listen_unix(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            with pytest.raises(BadConfig, match="another process listens"):
                listen_unix(path)
        assert path.exists(), "nobody listens any more, and the file is left"
        listen_unix(path).close()
    finally:
        os.umask(before)
    path.unlink()
    path.write_text("mine")
    with pytest.raises(BadConfig, match="a file"):
        listen_unix(path)
    assert path.read_text() == "mine"


@pytest.mark.serial
def test_a_killed_worker_refuses_nobody_on_any_socket(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    path = tmp_path / "http.socket"
    plane.start("--grpc-port", "0", "--unix-socket", str(path))
    said = json.loads((plane.run / "supervisor.json").read_bytes())
    assert (said["unix"], said["grpc"]) == (str(path), plane.grpc_port)
    over = threading.Event()
    wrong: list[str] = []
    counts = {"unix": 0, "grpc": 0}

    def on_unix() -> None:
        while not over.is_set():
            try:
                answer = over_unix(path)
                counts["unix"] += answer.startswith(b"HTTP/1.1 200")
                time.sleep(0.01)
            except ConnectionRefusedError as error:
                wrong.append(repr(error))
            except ConnectionError:
                continue  # what a killed worker held is visibly lost

    def on_grpc() -> None:
        while not over.is_set():
            with grpc.insecure_channel(f"127.0.0.1:{plane.grpc_port}", [("grpc.use_local_subchannel_pool", 1)]) as one:
                try:
                    one.unary_unary(INFER)(infer_request(), timeout=10)
                    counts["grpc"] += 1
                except grpc.RpcError as error:
                    if "refused" in str(error.details()):
                        wrong.append(str(error.details()))

    try:
        plane.settled()
        threads = [threading.Thread(target=work) for work in (on_unix, on_grpc)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(0.7)
            os.kill(plane.statuses()[0].pid, signal.SIGKILL)
        time.sleep(0.7)
        over.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert min(counts.values()) > 20
        if shutil.which("curl"):
            url = "http://localhost/v2/models/linear/infer"
            command = ["curl", "-s", "--unix-socket", path, "-d", BODY, url]
            assert json.loads(subprocess.run(command, capture_output=True).stdout)["model_name"] == "linear"
        until(lambda: len(plane.statuses()) == 2)
    finally:
        over.set()
        assert plane.stop() == 0
    assert not path.exists(), "its file goes with it"


def test_no_grpc_where_none_is_wanted(plane: DataPlane, tmp_path: Path) -> None:
    other = DataPlane(tmp_path)
    other.write()
    other.start("--spares", "0", workers=1)
    try:
        assert other.grpc_port == 0
        other.settled(workers=1)
        plane.settled(workers=1)
        loaded = [Path(f"/proc/{one.statuses()[0].pid}/maps").read_text() for one in (plane, other)]
        assert ["google/_upb" in maps for maps in loaded] == [True, False], "what nobody asked for is not loaded"
    finally:
        other.stop()
