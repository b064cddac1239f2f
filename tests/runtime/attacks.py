"""What hostile code would try, called inside the sandbox; each returns what it reached."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)


def echo(arguments, scratch):
    (scratch / "note").write_text("mine")
    return {"got": arguments, "scratch": str(scratch), "environment": dict(os.environ)}


def write(arguments, scratch):
    Path(arguments["path"]).write_text("harm")


def append(arguments, scratch):
    with open(arguments["path"], "a") as file:
        file.write("harm")


def remove(arguments, scratch):
    os.unlink(arguments["path"])


def change_mode(arguments, scratch):
    os.chmod(arguments["path"], 0o777)


def change_times(arguments, scratch):
    os.utime(arguments["path"], (1, 1))


def link_out(arguments, scratch):
    os.symlink(arguments["path"], scratch / "link")
    (scratch / "link").write_text("harm")


def rename_in(arguments, scratch):
    os.rename(arguments["path"], scratch / "taken")


def read(arguments, scratch):
    return Path(arguments["path"]).read_text()


def list_folder(arguments, scratch):
    return os.listdir(arguments["path"])


def connect(arguments, scratch):
    with socket.create_connection(("127.0.0.1", arguments["port"]), timeout=2) as there:
        there.sendall(b"harm")


def send_datagram(arguments, scratch):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"harm", ("127.0.0.1", arguments["port"]))


def abstract_socket(arguments, scratch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.connect(arguments["name"])
        there.sendall(b"harm")


def pair_of_sockets(arguments, scratch):
    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"harm", arguments["name"])


def socket_by_number(arguments, scratch):
    """The raw call, past Python's own socket module."""
    number = LIBC.syscall(41 if os.uname().machine == "x86_64" else 198, 1, 1, 0)
    if number < 0:
        raise OSError(ctypes.get_errno(), "socket")


def execute(arguments, scratch):
    os.execv("/bin/sh", ["sh", "-c", f"echo harm > {arguments['path']}"])


def spawn(arguments, scratch):
    os.system(f"echo harm > {arguments['path']}")
    import subprocess

    subprocess.run(["/bin/sh", "-c", "true"], check=True)


def fork(arguments, scratch):
    while True:
        os.fork()


def trace(arguments, scratch):
    if LIBC.ptrace(16, arguments["pid"], 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def kill(arguments, scratch):
    os.kill(arguments["pid"], signal.SIGTERM)


def kill_all(arguments, scratch):
    os.kill(-1, signal.SIGTERM)


def lower_parents_limits(arguments, scratch):
    import resource

    resource.prlimit(arguments["pid"], resource.RLIMIT_NOFILE, (3, 3))


def signal_by_file(arguments, scratch):
    """SIGIO to the parent: a signal that never goes through kill."""
    import fcntl

    fcntl.fcntl(3, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(3, fcntl.F_SETOWN, arguments["pid"])


def outlive(arguments, scratch):
    if LIBC.prctl(1, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


def new_namespace(arguments, scratch):
    if LIBC.unshare(1 << 28) < 0:
        raise OSError(ctypes.get_errno(), "unshare")


def remount(arguments, scratch):
    if LIBC.mount(b"none", b"/", None, 32, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")


def hidden_memory(arguments, scratch):
    os.memfd_create("hidden")


def inherited_files(arguments, scratch):
    """Which descriptors came along, beside the standard ones and the channel."""
    found = []
    for number in range(256):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found


def hog(arguments, scratch):
    held = []
    while True:
        held.append(bytearray(64 << 20))


def spin(arguments, scratch):
    while True:
        pass


def sleep(arguments, scratch):
    time.sleep(600)


def threads(arguments, scratch):
    threading.stack_size(64 << 10)
    while True:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def many_files(arguments, scratch):
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(100_000)]
    return len(held)


def big_file(arguments, scratch):
    with open(scratch / "big", "wb") as file:
        for _ in range(1024):
            file.write(bytes(1 << 20))


def flood(arguments, scratch):
    for _ in range(20_000):
        print("x" * 1000)
    return "done"


def crash(arguments, scratch):
    ctypes.string_at(0)


def leave(arguments, scratch):
    sys.exit(3)


def leave_words(arguments, scratch):
    print("my last words", flush=True)
    os._exit(3)


def leave_a_file(arguments, scratch):
    (scratch / "note").write_text("mine")
    return str(scratch)


def draw(arguments, scratch):
    import random
    import sys

    return [random.random(), float(sys.modules["numpy"].random.random())]


def leave_at_once(arguments, scratch):
    os._exit(0)


def no_json(arguments, scratch):
    return object()


def forged_frame(arguments, scratch):
    os.write(3, (0xFFFFFFF0).to_bytes(4, "little"))
    time.sleep(600)


def refuse(arguments, scratch):
    from penstock.errors import Untrusted

    raise Untrusted("not this one", "take another", code="build.odd", where="model.pkl")


def fail(arguments, scratch):
    raise ZeroDivisionError("by nought")


def open_pickle(arguments, scratch):
    import pickle

    return str(type(pickle.loads(Path(arguments["path"]).read_bytes())))


def fit_and_predict(arguments, scratch):
    """Libraries with threads of their own work behind the walls."""
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    rows, classes = np.random.default_rng(0).random((200, 3)), np.arange(200) % 2
    forest = RandomForestClassifier(10, n_jobs=2).fit(rows, classes)
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(rows, classes)
    return [len(forest.predict(rows)), len(boosted.predict(rows))]


def serve_numbers(arguments, scratch, descriptor, orders):
    """A worker that answers a byte with its double."""
    while got := os.read(descriptor, 1):
        os.write(descriptor, bytes([got[0] * 2]))


def serve_attacks(arguments, scratch, descriptor, orders):
    """A template whose workers each try one attack, and tell as a task does how it went."""
    import numpy.random

    from penstock.runtime.confined import receive, send

    numpy.random.seed(1)
    channel = socket.socket(fileno=descriptor)
    own = orders.wait(channel, lambda theirs, why: theirs.sendall(why.encode()))
    if own is None:
        return
    own.sendall(b"!")
    asked = json.loads(receive(own.fileno()))
    try:
        answer = {"answer": globals()[asked["name"]](asked["arguments"], Path.cwd())}
        data = json.dumps(answer)
    except MemoryError:
        data = json.dumps({"failed": "MemoryError"})
    except Exception as error:
        data = json.dumps({"failed": type(error).__name__, "message": str(error)[:2000]})
    send(own.fileno(), data.encode())


def serve_with_a_thread(arguments, scratch, descriptor, orders):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    serve_attacks(arguments, scratch, descriptor, orders)


def serve_with_a_file(arguments, scratch, descriptor, orders):
    with open("/dev/null"):
        serve_attacks(arguments, scratch, descriptor, orders)


def fork_in_the_template(arguments, scratch, descriptor, orders):
    """A template that starts processes which nobody ordered; it answers how many it got."""
    from penstock.runtime.walls import gate

    got = 0
    for flags in (0x8000 | signal.SIGCHLD, signal.SIGCHLD, 0x8000 | 0x10000000 | signal.SIGCHLD):
        try:
            if gate.start_process(flags) == 0:
                time.sleep(600)
            got += 1
        except OSError:
            continue
    for start in (os.fork, lambda: os.posix_spawn("/bin/true", ["true"], {})):
        try:
            if start() == 0:
                time.sleep(600)
            got += 1
        except OSError:
            continue
    os.write(descriptor, bytes([got]))
    os.read(descriptor, 1)
