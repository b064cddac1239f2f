"""How a data plane starts: light, one process that imports, and workers that are forked from it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, alive, route, until, v2
from packages_for_tests import linear_package

HEAVY = {
    "pandas", "scipy", "sqlalchemy", "fastapi", "pydantic", "typer", "rich", "sklearn", "pyarrow", "onnx", "yaml",
    "cryptography", "cffi", "prometheus_client",
}  # fmt: skip
BODY = v2([[1.0, 2.0, 3.0, 4.0]])


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_serving_a_folder_loads_the_data_plane_alone(tmp_path: Path) -> None:
    """The words a person types, not only the module behind them: a container pays for each import at each start."""
    linear_package(tmp_path / "p")
    with (tmp_path / "imports").open("wb") as imports:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "penstock", "serve", str(tmp_path / "p"), "--workers", "1"],
            stdout=subprocess.PIPE,
            stderr=imports,
            text=True,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]

            def answers() -> bool:
                request = urllib.request.Request(f"{url}/v2/models/linear/infer", BODY.encode())
                try:
                    with urllib.request.urlopen(request, timeout=5) as answer:
                        return answer.status == 200
                except OSError:
                    return False

            until(answers)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    assert process.returncode == 0
    names = set(re.findall(r"\| +([\w.]+)$", (tmp_path / "imports").read_text(), re.MULTILINE))
    assert {"penstock.serve.flow", "onnxruntime"} <= names
    heavy = {name for name in names if name.partition(".")[0] in HEAVY}
    assert not heavy, f"penstock serve loads {sorted(heavy)}"


def test_words_that_are_not_plain_still_reach_the_verb(tmp_path: Path) -> None:
    linear_package(tmp_path / "p")
    command = [sys.executable, "-m", "penstock", "serve", str(tmp_path / "p"), "--workers", "1", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert "penstock.serve" in done.stdout


def test_onnx_runtime_starts_no_thread_and_sends_nothing() -> None:
    """Its events would leave from a thread of its own, which would also make it wrong to fork."""
    code = (
        "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'; import penstock.runtime.engines.onnxruntime; "
        "print(len(os.listdir('/proc/self/task')), os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["1", "1"]


def test_workers_share_what_was_imported(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start()
    try:
        plane.settled()
        assert plane.process is not None
        assert len(os.listdir(f"/proc/{plane.process.pid}/task")) == 1
        for worker in plane.statuses():
            rollup = Path(f"/proc/{worker.pid}/smaps_rollup").read_text()
            shared = int(re.search(r"Shared_Dirty: +(\d+) kB", rollup)[1])  # type: ignore[index]
            assert shared > 5 << 10, "a worker has imported everything again"
            assert Path(f"/proc/{worker.pid}/comm").read_text() == "penstock-worker\n"
    finally:
        assert plane.stop() == 0


def test_what_workers_need_is_imported_once_for_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker of a rolling restart would else import it again, beside the traffic."""
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    with (tmp_path / "imports").open("wb") as imports, monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", partial(subprocess.Popen, stderr=imports))
        plane.start("--grpc-port", "0")
    try:
        plane.settled()
        assert plane.ask("POST", "/v2/models/linear/infer", BODY).status == 200
    finally:
        assert plane.stop() == 0
    found = re.findall(r"^import '(penstock[\w.]*)'", (tmp_path / "imports").read_text(), re.MULTILINE)
    assert "penstock.serve.flow" in found
    assert sorted(name for name in set(found) if found.count(name) > 1) == []


def test_no_worker_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """Each hears the end of its own channel: no sibling may hold on to the supervisor's end of it."""
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start()
    plane.settled()
    assert plane.process is not None
    # A child has its name once it has let go of what is the supervisor's.
    until(lambda: [name_of(child) for child in children(plane.process.pid)] == 3 * ["penstock-worker"])
    *workers, last = children(plane.process.pid)
    os.kill(last, signal.SIGSTOP)  # else it would end too, and let go of what it should never have held
    try:
        plane.process.kill()
        plane.process.wait()
        until(lambda: not any(map(alive, workers)), seconds=10)
    finally:
        os.kill(last, signal.SIGCONT)
    until(lambda: not alive(last))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_is_told_to_end_is_replaced_and_nothing_else_ends(tmp_path: Path, number: signal.Signals) -> None:
    """A signal to a worker is not heard by the supervisor, whose wake-up socket it was forked with."""
    plane = DataPlane(tmp_path)
    plane.write(route("linear", plane.add(linear_package, tmp_path / "p")))
    plane.start()
    try:
        plane.settled()
        before = {one.pid for one in plane.statuses()}
        gone = min(before)
        os.kill(gone, number)
        until(lambda: not alive(gone))
        until(lambda: len({one.pid for one in plane.statuses()} - {gone}) == 2)
        assert len(before & {one.pid for one in plane.statuses()}) == 1
        assert plane.ask("POST", "/v2/models/linear/infer", BODY).status == 200
    finally:
        assert plane.stop() == 0
