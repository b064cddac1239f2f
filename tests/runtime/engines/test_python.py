"""The python engine under deaths, hangs and poison: the caller sees an answer or a plain reason."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from penstock.errors import DeadlineExceeded, ModelFailed, NotReady
from penstock.packages.golden import Golden
from penstock.packages.read import Package
from penstock.runtime import template
from penstock.runtime.engine import prove
from penstock.tensors import TensorSpec

NUMBER = (TensorSpec(name="X", datatype="FP64", shape=(-1, 1)),)
PREDICTION = (TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),)

# A model whose pickle brings its own code: what it does depends on the number it is asked.
MOODY = """
import ctypes, os, time

class Moody:
    def predict(self, rows):
        asked = float(rows[0, 0])
        if asked == 1: time.sleep(600)
        if asked == 2: ctypes.string_at(0)
        if asked == 3: os._exit(0)
        if asked == 4: raise KeyError("secret")
        if asked == 5: held = bytearray(64 << 30)
        if asked == 6: os.write(3, b"\\xff" * 64)
        if asked == 7: time.sleep(0.7)
        if asked == 8: return rows.astype(str)
        return rows[:, 0] * 2
"""


def ask(value: float) -> dict[str, np.ndarray]:
    return {"X": np.array([[value]])}


@pytest.fixture(scope="module")
def moody(make_package) -> Package:
    """The model above, by cloudpickle, so that its class travels along."""
    import cloudpickle

    space: dict[str, type] = {"__name__": "__main__"}
    exec(MOODY, space)
    return make_package(cloudpickle.dumps(space["Moody"]()), NUMBER, PREDICTION, task="regression", entry="m.pkl")


@pytest.fixture
def engine(moody: Package, opened):
    """It, running, with a short patience."""
    engine = opened(moody)
    engine.timeout_s = 1.0
    return engine


def keepers() -> list[int]:
    """Processes above a sandboxed model that this one started and that still run; other tests have other children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = path.read_text().rpartition(")")[2].split()
            ours = words[0] != "Z" and int(words[1]) == os.getpid()
            if ours and "penstock.runtime.confined" in path.with_name("cmdline").read_text():
                found.append(int(path.parent.name))
    return found


def wait_for_death(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


def test_named_columns_text_and_missing_text_arrive_as_fitted(package: Package, opened) -> None:
    engine = opened(package)
    prove(engine, package)
    assert engine.inline is False


def test_an_idle_death_costs_nobody_anything(engine) -> None:
    for value in (10.0, 20.0, 30.0):
        pid = engine.pid
        os.kill(pid, signal.SIGKILL)
        wait_for_death(pid)
        assert engine.run(ask(value), timeout_s=30)["prediction"] == [value * 2]
    assert (engine.replays, engine.deaths) == (0, 3)


def test_a_template_killed_with_all_that_was_forked_from_it_fails_nobody(engine) -> None:
    engine.timeout_s = 30.0
    for _ in range(2):
        for pid in keepers():
            os.kill(pid, signal.SIGKILL)
        assert engine.run(ask(21))["prediction"] == [42]


def test_a_template_killed_while_it_loads_fails_nobody(engine) -> None:
    engine.timeout_s = 30.0
    (first,) = keepers()
    os.kill(first, signal.SIGKILL)
    answers: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: answers.append(engine.run(ask(21))["prediction"]))
    thread.start()
    while not (loading := [pid for pid in keepers() if pid != first]):
        time.sleep(0.001)
    for pid in loading:
        os.kill(pid, signal.SIGKILL)
    thread.join()
    assert answers[0].tolist() == [42.0]


def test_an_idle_template_that_dies_is_replaced_when_it_is_needed(engine) -> None:
    engine.timeout_s = 30.0
    os.kill(engine._workers.template.pid, signal.SIGKILL)
    assert engine.run(ask(21))["prediction"] == [42]
    assert not engine._workers.template.unfit


def test_a_death_costs_no_load(engine) -> None:
    engine.timeout_s = 30.0
    engine.run(ask(10))
    template = engine._workers.template.pid
    slowest = 0.0
    for _ in range(5):
        os.kill(engine.pid, signal.SIGKILL)
        wait_for_death(engine.pid)
        began = time.monotonic()
        assert engine.run(ask(10))["prediction"] == [20.0]
        slowest = max(slowest, time.monotonic() - began)
    assert engine._workers.template.pid == template
    print(f"slowest of five: {slowest * 1e3:.1f} ms")


# What a fork would break is noticed, and the model answers where it was loaded, with one more loaded beside it.
STUBBORN = """
import os, threading, time

class {name}:
    def __setstate__(self, state):
        if "{name}" == "Threaded":
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        if "{name}" == "Holding":
            self.held = open("/dev/null")
        self.loaded_in = os.getpid()

    def __getstate__(self):
        return dict(loaded=True)

    def predict(self, rows):
        if "{name}" == "Unlike" and os.getpid() != self.loaded_in:
            return rows[:, 0] * 3
        if "{name}" == "Dying" and os.getpid() != self.loaded_in:
            os._exit(3)
        if "{name}" == "Hanging" and os.getpid() != self.loaded_in:
            time.sleep(600)
        return rows[:, 0] * 2
"""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Threaded", "it started threads"),
        ("Holding", "it holds files open"),
        ("Unlike", "golden examples"),
        ("Dying", "what is forked from it dies"),
        ("Hanging", "what is forked from it does not answer"),
    ],
)
def test_a_model_that_cannot_be_forked_is_loaded_for_each_process(
    make_package, opened, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    import cloudpickle

    monkeypatch.setattr(template, "_FORK_S", 3.0)
    space: dict[str, type] = {"__name__": "__main__"}
    exec(STUBBORN.format(name=name), space)
    golden = Golden(inputs=ask(4), outputs={"prediction": np.array([8.0])})
    data = cloudpickle.dumps(space[name]())
    engine = opened(make_package(data, NUMBER, PREDICTION, golden=golden, task="regression", entry="m.pkl"))
    engine.timeout_s = 30.0
    assert why in engine._workers.template.unfit
    assert "none can be forked" in caplog.text
    for value in (1.0, 2.0):
        assert engine.run(ask(value))["prediction"] == [2 * value]
        os.kill(engine.pid, signal.SIGKILL)
        wait_for_death(engine.pid)
    assert engine.run(ask(3.0))["prediction"] == [6.0]
    assert (engine.replays, engine.deaths) == (0, 2)
    assert engine.need_bytes > 40 << 20


def test_what_it_needs_is_no_less_than_what_it_holds(package: Package, opened) -> None:
    engine = opened(package)
    for _ in range(50):
        engine.run(package.golden().inputs)
    pids = engine.pid, engine._workers.template.pid
    try:
        holds = sum(pss(pid) for pid in pids)
    except PermissionError:
        pytest.skip("this user may not look inside")
    alone = int(Path(f"/proc/{engine.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert holds <= engine.need_bytes < 1.6 * alone, "what both share is counted once"


def pss(pid: int) -> int:
    """Memory of a process, with its part of what others hold, too."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10


def test_a_death_under_a_request_is_replayed_once(engine) -> None:
    answers: list[np.ndarray] = []
    engine.timeout_s = 30.0
    thread = threading.Thread(target=lambda: answers.append(engine.run(ask(7))["prediction"]))
    thread.start()
    time.sleep(0.2)
    os.kill(engine.pid, signal.SIGKILL)
    thread.join()
    assert answers[0].tolist() == [14.0]
    assert (engine.replays, engine.deaths) == (1, 1)


@pytest.mark.parametrize("poison", [2.0, 3.0, 5.0, 6.0])
def test_a_request_that_kills_two_processes_fails_alone(engine, poison: float) -> None:
    with pytest.raises(ModelFailed, match="two processes died") as caught:
        engine.run(ask(poison), timeout_s=60)
    assert caught.value.code == "runtime.died"
    assert engine.deaths == 2
    assert engine.run(ask(10), timeout_s=60)["prediction"] == [20.0]


def test_a_hang_is_ended_and_the_next_request_answered(engine) -> None:
    pid = engine.pid
    with pytest.raises(DeadlineExceeded):
        engine.run(ask(1))
    wait_for_death(pid)
    assert engine.run(ask(10), timeout_s=30)["prediction"] == [20.0]
    assert "did not answer" in engine.last_death


def test_a_short_deadline_leaves_the_worker_alone(engine) -> None:
    engine.run(ask(10))
    pid = engine.pid
    with pytest.raises(DeadlineExceeded):
        engine.run(ask(7), timeout_s=0.05)
    assert engine.run(ask(21), timeout_s=30)["prediction"] == [42.0], "an old answer must not be taken for a new one"
    assert (engine.pid, engine.deaths) == (pid, 0)


def test_what_the_model_raises_is_its_own_failure(engine) -> None:
    pid = engine.pid
    with pytest.raises(ModelFailed, match="KeyError"):
        engine.run(ask(4))
    with pytest.raises(ModelFailed):
        engine.run(ask(8))
    assert engine.pid == pid


def test_the_third_crash_makes_it_rest_and_it_says_why(engine) -> None:
    with pytest.raises(ModelFailed, match="two processes died"):
        engine.run(ask(3), timeout_s=60)
    assert engine.resting() == ""
    with pytest.raises(NotReady, match="crashed again and again"):
        engine.run(ask(3), timeout_s=60)
    assert engine.deaths == 3
    with pytest.raises(NotReady, match="rests"):
        engine.run(ask(10))
    assert "crashed" in engine.resting()
    time.sleep(1.1)
    assert engine.run(ask(10), timeout_s=60)["prediction"] == [20.0]


def test_answers_in_between_do_not_hide_crashes(engine) -> None:
    with pytest.raises(ModelFailed):
        engine.run(ask(5), timeout_s=60)
    assert engine.run(ask(10), timeout_s=60)["prediction"] == [20.0]
    with pytest.raises(NotReady, match="ran out of memory"):
        engine.run(ask(5), timeout_s=60)


def test_twins_answer_beside_each_other_and_share_a_template(engine) -> None:
    twin = engine.twin()
    try:
        assert twin.pid != engine.pid
        assert twin.run(ask(10))["prediction"] == [20.0]
        os.kill(twin.pid, signal.SIGKILL)
        assert twin.run(ask(11), timeout_s=60)["prediction"] == [22.0]
        assert engine.run(ask(12))["prediction"] == [24.0]
    finally:
        twin.leave()
    assert engine.run(ask(13))["prediction"] == [26.0]
    assert engine.need_bytes > 10 << 20


def test_nothing_is_left_after_closing(engine) -> None:
    engine.run(ask(1.5))
    pid = engine.pid
    engine.close()
    wait_for_death(pid)


def test_closing_ends_a_run_that_is_under_way(engine) -> None:
    engine.timeout_s = 60.0
    failures: list[ModelFailed] = []

    def hang() -> None:
        try:
            engine.run(ask(1))
        except ModelFailed as error:
            failures.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.3)
    engine.close()
    thread.join(10)
    assert [error.code for error in failures] == ["runtime.closed"]


def test_a_model_that_cannot_be_loaded_says_why(make_package, opened) -> None:
    with pytest.raises(ModelFailed, match="cannot be loaded") as caught:
        opened(make_package(b"no pickle", NUMBER, PREDICTION, task="regression"))
    assert caught.value.code == "runtime.load_failed"


@pytest.mark.serial
def test_no_request_fails_while_its_worker_is_killed_again_and_again(package: Package, opened) -> None:
    engine = opened(package)
    golden = package.golden()
    stop, kills = threading.Event(), []

    def kill() -> None:
        while not stop.is_set():
            pid = engine.pid
            if pid and pid not in kills:
                time.sleep(0.2)
                os.kill(pid, signal.SIGKILL)
                kills.append(pid)
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        end = time.monotonic() + 5
        answers = []
        while time.monotonic() < end:
            answers.append(engine.run(golden.inputs, timeout_s=60)["label"].tolist())
    finally:
        stop.set()
        thread.join()
    assert all(answer == golden.outputs["label"].tolist() for answer in answers)
    assert len(kills) >= 2
    assert engine.replays <= len(kills)
