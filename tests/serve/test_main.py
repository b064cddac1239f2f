"""`python -m penstock.serve --package`: one package, no control plane."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from dataplane_for_tests import until, v2
from packages_for_tests import linear_package
from penstock.log.tail import Tail
from penstock.records import Exchange

BODY = v2([[1.0, 2.0, 3.0, 4.0]]).encode()


def ask(url: str, token: str = "") -> tuple[int, dict]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, BODY, headers), timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_package_alone(tmp_path: Path) -> None:
    linear_package(tmp_path / "p")
    (tmp_path / "token").write_text("pst_secret\n")
    log, token = ["--log-dir", str(tmp_path / "log")], ["--token-file", str(tmp_path / "token")]
    command = [sys.executable, "-m", "penstock.serve", "--package", str(tmp_path / "p"), "--name", "mine", *log, *token]
    process = subprocess.Popen([*command, "--workers", "1", "--spares", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1] + "/v2/models/mine/infer"
        until(lambda: ask(url, "pst_secret")[0] == 200)
        assert ask(url)[0] == 401
        assert ask(url, "pst_secret")[1]["model_name"] == "mine"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    exchanges = Tail(tmp_path / "log", Exchange).read()
    assert {one.subject for one in exchanges} == {"token-file"}
    assert all(one.endpoint == "mine" and one.version == 1 for one in exchanges if one.code == "ok")


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_package_that_is_not_whole_is_not_served(tmp_path: Path, fault: str) -> None:
    linear_package(tmp_path / "p")
    if fault == "missing":
        (tmp_path / "p" / "manifest.json").unlink()
        done = subprocess.run(
            [sys.executable, "-m", "penstock.serve", "--package", str(tmp_path / "p")], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "manifest.json" in done.stderr
        return
    graph = tmp_path / "p" / "model" / "model.onnx"
    data = bytearray(graph.read_bytes())
    data[40] ^= 1
    graph.write_bytes(data)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "penstock.serve", "--package", str(tmp_path / "p"), "--run-dir", str(run)]
    process = subprocess.Popen([*command, "--workers", "1", "--spares", "0"])
    try:
        until(lambda: any("model/model.onnx" in path.read_text() for path in (run / "workers").glob("*.json")))
    finally:
        process.terminate()
        process.wait(20)
