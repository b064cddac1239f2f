"""A template and its workers behind the walls: no process that nobody ordered, and none that outlives the others."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.runtime.test_sandbox import ATTACKS, QUICK, ask_worker, forked

from penstock.errors import ModelFailed
from penstock.runtime.limits import Quota
from penstock.runtime.process import Confined
from penstock.runtime.sandbox import start_worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls are built for Linux only")


@pytest.fixture
def template(tmp_path: Path) -> Iterator[Confined]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    template = start_worker(f"{ATTACKS}:serve_attacks", None, read=[ATTACKS], scratch=scratch, limits=QUICK)
    yield template
    template.close()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def keeper_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def test_each_order_gives_a_process_of_its_own(template: Confined) -> None:
    workers = [forked(template) for _ in range(3)]
    pids = {worker.pid for worker in workers}
    assert len(pids | {template.pid}) == 4
    assert pids < set(children(keeper_of(template.pid))), "they are the keeper's, not the template's"
    assert children(template.pid) == []
    for worker in workers:
        assert worker.close().code == -signal.SIGKILL
        assert not is_running(worker.pid)
    assert is_running(template.pid)


@pytest.mark.parametrize("name", ["crash", "leave", "fork", "hog"])
def test_what_a_worker_does_leaves_its_template_alone(template: Confined, name: str) -> None:
    with pytest.raises(ModelFailed):
        ask_worker(template, name, {})
    assert ask_worker(template, "inherited_files", {}) == [0, 1, 2, 3]


def test_a_workers_end_is_told_with_its_own_words(template: Confined) -> None:
    for name, code, said in (("crash", -signal.SIGSEGV, ""), ("leave_words", 3, "my last words")):
        worker = forked(template)
        data = json.dumps({"name": name, "arguments": {}}).encode()
        worker.channel.sendall(len(data).to_bytes(4, "little") + data)
        assert worker.channel.recv(1) == b""
        ending = worker.close()
        assert (ending.pid, ending.code) == (worker.pid, code)
        assert said in ending.log
        assert "my last words" not in ending.log or said


def test_nobody_starts_a_process_that_was_not_ordered(tmp_path: Path) -> None:
    template = start_worker(f"{ATTACKS}:fork_in_the_template", None, read=[ATTACKS], scratch=tmp_path)
    try:
        template.channel.settimeout(20)
        assert template.channel.recv(1) == b"\0"
        assert children(template.pid) == []
    finally:
        template.close()


def test_a_worker_signals_no_other_process(template: Confined) -> None:
    others = [forked(template) for _ in range(2)]
    for pid in (1, 2, 3, 4):
        with pytest.raises(ModelFailed, match="PermissionError"):
            ask_worker(template, "kill", {"pid": pid})
    assert all(is_running(one.pid) for one in (template, *others))
    for one in others:
        one.close()


def test_what_a_worker_writes_is_its_own_and_goes_with_it(template: Confined) -> None:
    place = ask_worker(template, "leave_a_file", {})
    for name in ("read", "write"):
        with pytest.raises(ModelFailed, match=r"FileNotFoundError|PermissionError"):
            ask_worker(template, name, {"path": f"{place}/note"})
    other = forked(template)
    for name in ("list_folder", "write"):
        path = str(Path(str(place)).with_name(str(other.pid)) / ("note" if name == "write" else ""))
        with pytest.raises(ModelFailed, match="PermissionError"):
            ask_worker(template, name, {"path": path})
    other.close()


def test_two_workers_draw_other_numbers(template: Confined) -> None:
    python, numpy = ask_worker(template, "draw", {})
    others = ask_worker(template, "draw", {})
    assert python != others[0]
    assert numpy != others[1]


def test_a_process_without_orders_says_why(tmp_path: Path) -> None:
    for name, why in (("serve_with_a_thread", "it started threads"), ("serve_with_a_file", "it holds files open")):
        template = start_worker(f"{ATTACKS}:{name}", None, read=[ATTACKS], scratch=tmp_path)
        try:
            worker = template.fork()
            worker.channel.settimeout(10)
            assert worker.channel.recv(1000).decode() == why
            worker.close()
        finally:
            template.close()


CODE = """
import socket, sys, time
from pathlib import Path
from penstock.runtime.sandbox import start_worker
template = start_worker(sys.argv[1], None, read=[Path(sys.argv[2])], scratch=Path(sys.argv[3]))
worker = template.fork()
worker.know(time.monotonic() + 10)
print(f"{template.pid} {worker.pid}", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("victim", ["parent", "keeper", "first", "template"])
def test_whoever_is_killed_nothing_is_left(tmp_path: Path, victim: str) -> None:
    out, into = os.pipe()
    parent = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", CODE, f"{ATTACKS}:serve_attacks", str(ATTACKS), str(tmp_path)],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, into, 1)],
    )
    os.close(into)
    template, worker = map(int, os.read(out, 100).split())
    os.close(out)
    keeper = keeper_of(template)
    inside = children(keeper)
    assert {template, worker} < set(inside)
    (first,) = set(inside) - {template, worker}
    try:
        os.kill({"parent": parent, "keeper": keeper, "first": first, "template": template}[victim], signal.SIGKILL)
        until(lambda: not any(is_running(pid) for pid in (keeper, *inside)))
    finally:
        if victim != "parent":
            os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)


def test_a_worker_alone_may_be_killed(template: Confined) -> None:
    worker = forked(template)
    os.kill(worker.pid, signal.SIGKILL)
    worker.channel.settimeout(5)
    assert worker.channel.recv(1) == b""
    assert worker.close().code == -signal.SIGKILL
    assert ask_worker(template, "inherited_files", {}) == [0, 1, 2, 3]


def test_who_has_too_many_threads_ends_alone(tmp_path: Path) -> None:
    limits = Quota(threads=8)
    template = start_worker(f"{ATTACKS}:serve_attacks", None, read=[ATTACKS], scratch=tmp_path, limits=limits)
    try:
        with pytest.raises(ModelFailed):
            ask_worker(template, "threads", {})
        assert is_running(template.pid)
        assert ask_worker(template, "inherited_files", {}) == [0, 1, 2, 3]
    finally:
        template.close()


def test_who_speaks_is_what_the_kernel_says(template: Confined) -> None:
    worker = forked(template)
    assert worker.pid in children(keeper_of(template.pid))
    worker.close()
    worker.close()
