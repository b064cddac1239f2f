"""G13: control plane, registry and key ring gone, and the node started anew without them: predictions do not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from figures_for_tests import FULL, Figures, percentile
from tests.journeys.conftest import Typist
from tests.journeys.load_for_tests import ROW, body_of, children, is_running, note, until, workers
from tests.reliability.clients_for_tests import Load, Wire, post

pytestmark = pytest.mark.timeout(1800)

AWAY_S = 60.0 if FULL else 2.0
CALM_S = 20.0 if FULL else 1.0
KNOWN = ("manifest.json", "golden.json", "signature.json")
CLIENTS = {"keep": 2, "new": 1}
REQUEST = post("/v2/models/churn/infer", body_of(ROW))


def port_of(typist: Typist) -> int:
    return int(note(typist.home, "supervisor.json")["port"])


def load(typist: Typist, seconds: float) -> Load:
    with Load(port_of(typist), CLIENTS, request=REQUEST, pause_s=0.002) as asked:
        time.sleep(seconds)
        asked.wait(int(50 * seconds), seconds=120)
    return asked


def p99(asked: Load) -> float:
    return percentile([one.ended - one.begun for one in asked.answers], 0.99)


def take_away(home: Path) -> None:
    """The control plane is killed; what it decides from and signs with is no longer there."""
    control = note(home, "control.json")["pid"]
    os.kill(control, signal.SIGKILL)
    until(lambda: not is_running(control))
    for path in (*home.glob("registry.db*"), home / "reports", home / "keys" / "token"):
        if path.exists():
            path.rename(path.with_name(path.name + ".gone"))


def bring_back(home: Path) -> None:
    """As it was, for whoever tidies up."""
    for left in home.glob("registry.db*"):
        if left.suffix != ".gone":
            left.unlink()
    for gone in [*home.glob("*.gone"), *(home / "keys").glob("*.gone")]:
        kept = gone.with_suffix("")
        if kept.is_dir():
            kept.rmdir()
        gone.replace(kept)


def touch_a_byte(home: Path) -> None:
    """Of each file that says nothing of what is answered: no golden example would notice."""
    for path in (home / "packages").rglob("*"):
        if path.is_file() and path.suffix != ".onnx" and path.parts[-1] not in KNOWN:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.chmod(0o600)
            path.write_bytes(data)


def started_anew(home: Path) -> subprocess.Popen[bytes]:
    """The node goes down without a word, and comes up with the data plane's own command line and nothing else."""
    pid = note(home, "supervisor.json")["pid"]
    command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    everybody = [one for one in (pid, *children(pid), *workers(home)) if is_running(one)]
    for one in everybody:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    until(lambda: not any(is_running(one) for one in everybody))
    (home / "run" / "supervisor.json").unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until((home / "run" / "supervisor.json").exists)
    return process


def test_predictions_go_on_and_the_node_starts_without_anybody(passed: Typist, figures: Figures) -> None:
    passed.json("release", "churn@1")
    usual = load(passed, CALM_S)
    take_away(passed.home)
    away = load(passed, AWAY_S)
    process = started_anew(passed.home)
    try:
        begun = time.monotonic()
        until(lambda: answers(port_of(passed)), seconds=90)
        back_s = time.monotonic() - begun
        anew = load(passed, CALM_S)
        refused_s = refusal(passed)
        # Verified, not believed: started anew with one byte of its copy changed it answers nobody.
        touch_a_byte(passed.home)
        process = started_anew(passed.home)
        time.sleep(2.0)
        served = answers(port_of(passed))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        bring_back(passed.home)
    figures.count("answers from a copy with a byte changed", int(served), at_most=0)
    figures.count("requests with everybody else dead", len(away.answers) + len(anew.answers), at_least=50 * AWAY_S)
    figures.count("failed with everybody else dead", len(away.failures) + len(away.lost), at_most=0)
    figures.count("failed after the node was started anew", len(anew.failures) + len(anew.lost), at_most=0)
    versions = {one.version for asked in (away, anew) for one in asked.answers}
    figures.count("versions that answered", len(versions), at_most=1)
    figures.timed("first answer of the node started anew, s", back_s, at_most=5.0)
    figures.timed("p99 with everybody else dead, of the usual", p99(away) / p99(usual), at_most=1.1)
    figures.timed("p99 after the node was started anew, of the usual", p99(anew) / p99(usual), at_most=1.1)
    figures.timed("a write is refused after, s, Python's start included", refused_s, at_most=4.0)
    print([*away.failures, *away.lost, *anew.failures, *anew.lost][:3])
    figures.hold()


def answers(port: int) -> bool:
    """Whether a prediction is answered."""
    import asyncio

    async def ask() -> bool:
        wire = Wire(port)
        try:
            return (await wire.ask(REQUEST)).status == 200
        except OSError:
            return False
        finally:
            wire.close()

    return asyncio.run(ask())


def refusal(typist: Typist) -> float:
    """A rollback with no registry: refused with words, not a stack; how long that took."""
    begun = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "penstock", "rollback", "churn"],
        cwd=typist.folder,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    return time.monotonic() - begun
