"""The user's training command: run once, without a shell, within its time."""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from penstock.errors import BadConfig, NotReady, TargetFailed
from penstock.feedback.retrain import Terms, retrain

JOINED = pa.table({"prediction": ["p.0"], "label": [1.0]})
FACTS = {"endpoint": "e", "reason": "because"}


def script(folder: Path, text: str) -> str:
    path = folder / "train.py"
    path.write_text(text)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(path))}"


def test_it_learns_where_things_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "pst_secret")
    command = script(
        tmp_path,
        "import os, pyarrow.parquet as pq\n"
        "table = pq.read_table(os.environ['PENSTOCK_DATA'])\n"
        "assert 'PENSTOCK_TOKEN' not in os.environ\n"
        "print('trained', table.num_rows, os.environ['PENSTOCK_ENDPOINT'], os.environ['PENSTOCK_REASON'])\n"
        "open(os.environ['PENSTOCK_MODEL'], 'w').write('model')\n",
    )
    found = retrain(command, JOINED, tmp_path / "run", facts=FACTS)
    assert Path(found.model).read_text() == "model"
    assert Path(found.log).read_text().split() == ["trained", "1", "e", "because"]


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    command = script(tmp_path, "import os, sys; open(os.environ['PENSTOCK_MODEL'], 'w').write(sys.argv[1])")
    found = retrain(f"{command} '$(touch {tmp_path}/broken); *'", JOINED, tmp_path / "run", facts=FACTS)
    assert Path(found.model).read_text() == f"$(touch {tmp_path}/broken); *"
    assert not (tmp_path / "broken").exists()


def test_a_failure_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(TargetFailed, match="no such thing"):
        retrain(script(tmp_path, "raise SystemExit('no such thing')"), JOINED, tmp_path / "run", facts=FACTS)
    with pytest.raises(TargetFailed, match="left no model"):
        retrain(script(tmp_path, ""), JOINED, tmp_path / "run", facts=FACTS)


def test_it_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    command = script(
        tmp_path,
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "child.wait()\n",
    )
    with pytest.raises(TargetFailed, match="stopped after"):
        retrain(command, JOINED, tmp_path / "run", facts=FACTS, terms=Terms(limit_s=8.0))
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def test_it_is_stopped_with_the_control_plane(tmp_path: Path) -> None:
    stopped = threading.Event()
    command = script(tmp_path, "import time; print('here', flush=True); time.sleep(600)")
    threading.Thread(target=_when_there, args=(tmp_path / "run" / "train.log", stopped), daemon=True).start()
    with pytest.raises(NotReady):
        retrain(command, JOINED, tmp_path / "run", facts=FACTS, terms=Terms(limit_s=60.0, stopped=stopped))


def test_it_runs_where_it_is_told_with_our_own_python(tmp_path: Path) -> None:
    script(tmp_path, "import os, sys; open(os.environ['PENSTOCK_MODEL'], 'w').write(sys.executable)")
    found = retrain("python train.py", JOINED, tmp_path / "run", facts=FACTS, terms=Terms(folder=tmp_path))
    assert Path(found.model).read_text() == sys.executable


def _when_there(log: Path, stopped: threading.Event) -> None:
    while not (log.is_file() and log.read_text()):
        time.sleep(0.02)
    stopped.set()


@pytest.mark.parametrize("command", ["", "python 'unclosed", "/no/such/program"])
def test_a_bad_command_is_refused(command: str, tmp_path: Path) -> None:
    with pytest.raises(BadConfig):
        retrain(command, JOINED, tmp_path / "run", facts=FACTS)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    finally:
        assert pid != os.getpid()
