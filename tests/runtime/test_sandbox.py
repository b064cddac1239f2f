"""Hostile code inside, canaries outside: everything it tries fails, and the parent is as it was."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.errors import ModelFailed, Untrusted
from penstock.runtime.limits import Level, Quota
from penstock.runtime.process import Confined, Forked, died, receive
from penstock.runtime.sandbox import level, run_task, start_worker

ATTACKS = Path(__file__).with_name("attacks.py")
QUICK = Quota(time_s=20.0, memory_bytes=1 << 30)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls are built for Linux only")

Attack = Callable[..., object]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def task(scratch: Path) -> Attack:
    """Call one function of attacks.py in a sandboxed process that was started for it."""

    def call(name: str, limits: Quota = QUICK, /, *, read: tuple[Path, ...] = (), **arguments: object) -> object:
        return run_task(f"{ATTACKS}:{name}", arguments, read=read, scratch=scratch, limits=limits)

    return call


@pytest.fixture(params=["task", "worker"])
def attack(request: pytest.FixtureRequest, task: Attack, scratch: Path) -> Attack:
    """The same; or in a worker that was forked from a template, which can do no more than a task."""

    def call(name: str, limits: Quota = QUICK, /, *, read: tuple[Path, ...] = (), **arguments: object) -> object:
        template = start_worker(f"{ATTACKS}:serve_attacks", None, read=[ATTACKS, *read], scratch=scratch, limits=limits)
        try:
            return ask_worker(template, name, arguments, limits)
        finally:
            template.close()

    return task if request.param == "task" else call


def ask_worker(template: Confined, name: str, arguments: object, limits: Quota = QUICK) -> object:
    """What a task tells, told by a worker."""
    worker = forked(template)
    data = json.dumps({"name": name, "arguments": arguments}).encode()
    try:
        worker.channel.sendall(len(data).to_bytes(4, "little") + data)
        answer = json.loads(receive(worker.channel, 1 << 20, deadline=time.monotonic() + limits.time_s))
    except TimeoutError:
        raise ModelFailed("too late", code="runtime.timeout") from None
    except EOFError:
        raise died(name, worker.close()) from None
    finally:
        worker.close()
    if answer.get("failed") == "MemoryError":
        raise ModelFailed("no memory", code="runtime.memory")
    if "failed" in answer:
        raise ModelFailed(f"raised {answer['failed']}: {answer['message']}", code="runtime.task_failed")
    return answer["answer"]


def forked(template: Confined) -> Forked:
    worker = template.fork()
    worker.know(time.monotonic() + 10)
    assert worker.channel.recv(1000) == b"!"
    return worker


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file outside of the scratch folder that must stay as it is."""
    path = tmp_path / "canary"
    path.write_text("alive")
    path.chmod(0o600)
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_text() == "alive"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


def descriptors() -> set[tuple[str, str]]:
    """Each open descriptor, and what it leads to."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is closed by now
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


@pytest.fixture(autouse=True)
def unharmed() -> Iterator[None]:
    """This process: same limits, same descriptors, no signal, no child left."""
    heard: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    limits, files = resource.getrlimit(resource.RLIMIT_NOFILE), descriptors()
    yield
    signal.signal(signal.SIGTERM, old)
    assert not heard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    assert not descriptors() - files  # what an earlier test left may be closed meanwhile


def test_this_machine_puts_up_enough_walls() -> None:
    assert level().enough, level().missing


def test_a_level_without_a_wall_against_writing_is_not_enough() -> None:
    walls = dict.fromkeys(("limits", "privileges", "files", "calls", "mount", "network", "process"), "")
    assert Level(walls).enough
    assert not Level(walls | {"files": "too old", "mount": "refused"}).enough
    assert not Level(walls | {"limits": "refused"}).enough
    assert "too old" in Level(walls | {"files": "too old"}).missing
    assert not Level({}).enough


def test_a_task_answers_and_sees_no_secret(task: Attack, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    answer = task("echo", n=1)
    assert isinstance(answer, dict)
    assert answer["got"] == {"n": 1}
    assert answer["scratch"] == str(scratch)
    assert (scratch / "note").read_text() == "mine"
    assert "canary" not in str(answer["environment"])


@pytest.mark.parametrize(
    "name", ["write", "append", "remove", "change_mode", "change_times", "link_out", "rename_in", "execute", "spawn"]
)
def test_nothing_outside_is_written(attack: Attack, canary: Path, name: str) -> None:
    with pytest.raises(ModelFailed):
        attack(name, path=str(canary), read=(canary,))


@pytest.mark.parametrize("folder", ["/dev/shm", "/var/tmp", "/tmp", str(Path.home())])
def test_no_new_file_appears_outside(attack: Attack, folder: str) -> None:
    place = Path(folder) / "penstock-canary"
    with pytest.raises(ModelFailed):
        attack("write", path=str(place))
    assert not place.exists()


def test_nothing_is_read_but_what_was_granted(attack: Attack, canary: Path) -> None:
    assert attack("read", read=(canary,), path=str(canary)) == "alive"
    for path in (
        str(canary),
        "/etc/shadow",
        "/etc/passwd",
        f"/proc/{os.getpid()}/environ",
        "/proc/1/environ",
        "/proc/self/root/etc/passwd",
    ):
        with pytest.raises(ModelFailed, match=r"PermissionError|FileNotFoundError"):
            attack("read", path=path)
    with pytest.raises(ModelFailed, match="PermissionError"):
        attack("list_folder", path=str(canary.parent))


def test_no_listener_is_reached(attack: Attack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        for name in ("connect", "send_datagram"):
            with pytest.raises(ModelFailed, match="Error"):
                attack(name, port=listener.getsockname()[1])
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_no_unix_socket_is_reached(attack: Attack, kind: int) -> None:
    name = f"\0penstock-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(name)
        listener.settimeout(0.2)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        with pytest.raises(ModelFailed, match="PermissionError"):
            attack("abstract_socket" if kind == socket.SOCK_STREAM else "pair_of_sockets", name=name)
        with pytest.raises(TimeoutError):
            listener.accept() if kind == socket.SOCK_STREAM else listener.recv(10)


@pytest.mark.parametrize(
    "name",
    [
        "socket_by_number",
        "trace",
        "kill",
        "kill_all",
        "lower_parents_limits",
        "signal_by_file",
        "outlive",
        "new_namespace",
        "remount",
        "fork",
        "hidden_memory",
    ],
)
def test_the_call_is_refused(attack: Attack, name: str) -> None:
    with pytest.raises(ModelFailed, match=r"PermissionError|OSError"):
        attack(name, pid=os.getpid())


def test_no_descriptor_comes_along(attack: Attack, canary: Path) -> None:
    with canary.open() as held:
        os.set_inheritable(held.fileno(), True)
        assert attack("inherited_files") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "limits", "code"),
    [
        ("hog", Quota(time_s=30, memory_bytes=512 << 20), "runtime.memory"),
        ("spin", Quota(time_s=1), "runtime.timeout"),
        ("sleep", Quota(time_s=1), "runtime.timeout"),
        ("spin", Quota(time_s=20, cpu_s=1), "runtime.died"),
        ("threads", Quota(time_s=20, threads=16), None),
        ("many_files", QUICK, "runtime.task_failed"),
        ("big_file", Quota(time_s=20, file_bytes=1 << 20), "runtime.task_failed"),
        ("crash", QUICK, "runtime.died"),
        ("leave_at_once", QUICK, "runtime.died"),
        ("leave", QUICK, "runtime.died"),
        ("no_json", QUICK, "runtime.task_failed"),
        ("forged_frame", QUICK, "runtime.died"),
        ("fail", QUICK, "runtime.task_failed"),
    ],
)
def test_too_much_ends_the_task_alone(attack: Attack, name: str, limits: Quota, code: str | None) -> None:
    with pytest.raises(ModelFailed) as caught:
        attack(name, limits)
    assert code is None or caught.value.code == code


def test_a_flood_of_output_is_harmless(attack: Attack) -> None:
    assert attack("flood") == "done"


def test_a_refusal_travels_as_itself(task: Attack) -> None:
    with pytest.raises(Untrusted) as caught:
        task("refuse")
    assert (caught.value.message, caught.value.hint) == ("not this one", "take another")
    assert (caught.value.code, caught.value.where) == ("build.odd", "model.pkl")


class _Bomb:
    """A pickle that runs a command when it is opened."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def test_a_malicious_pickle_harms_nothing(attack: Attack, canary: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pkl"
    bomb.write_bytes(pickle.dumps(_Bomb(f"echo harm > {canary}; touch {tmp_path}/owned")))
    attack("open_pickle", read=(bomb,), path=str(bomb))
    assert not (tmp_path / "owned").exists()


def test_libraries_with_threads_work(attack: Attack) -> None:
    assert attack("fit_and_predict", Quota(time_s=120)) == [200, 200]


def test_a_worker_talks_over_its_channel_and_ends_with_it(scratch: Path) -> None:
    worker = start_worker(f"{ATTACKS}:serve_numbers", None, read=[], scratch=scratch)
    worker.channel.settimeout(10)
    worker.channel.sendall(b"\x15")
    assert worker.channel.recv(1) == b"\x2a"
    pid = worker.pid
    assert Path(f"/proc/{pid}").exists()
    worker.close()
    worker.close()
    assert not Path(f"/proc/{pid}").exists()


def test_what_a_worker_writes_is_gone_with_it(scratch: Path) -> None:
    if level().walls["mount"]:
        pytest.skip(f"no mounts of its own here: {level().walls['mount']}")
    worker = start_worker(f"{ATTACKS}:serve_numbers", None, read=[], scratch=scratch)
    inside = Path(f"/proc/{worker.pid}/root{scratch}/note")
    try:
        inside.write_text("x")
    except PermissionError:
        pytest.skip("this user may not look inside")
    finally:
        worker.close()
    assert list(scratch.iterdir()) == []


def test_it_ends_when_its_parent_is_killed(scratch: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from penstock.runtime.sandbox import start_worker\n"
        f"w = start_worker({str(ATTACKS)!r} + ':serve_numbers', None, read=[], scratch=Path({str(scratch)!r}))\n"
        "print(w.pid, flush=True); time.sleep(600)\n"
    )
    out, into = os.pipe()
    parent = os.posix_spawn(
        sys.executable, [sys.executable, "-c", code], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, into, 1)]
    )
    os.close(into)
    try:
        pid = int(os.read(out, 100))
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        os.close(out)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the sandboxed process outlived its parent")
