"""The faults: each a few lines of the source changed in a copy of it, and the figure that must then not be reached.

A plant that no longer fits its file is an error: somebody has changed what it was about, and says it anew.
"""

from __future__ import annotations

from typing import NamedTuple

G = "tests/reliability/"


class Plant(NamedTuple):
    """One fault.

    Attributes:
        figure: A part of the figure's name, which must be among those not reached.
        file: Below ``src/penstock``.
        old: What is there, once.
        new: The fault.
        test: What runs, in its short form.
    """

    goal: str
    what: str
    figure: str
    file: str
    old: str
    new: str
    test: str


PLANTS = (
    Plant(
        "g1",
        "a worker that is replaced closes its connections without a last answer",
        "failed requests",
        "serve/listeners/doors.py",
        "        while self._held() or (self._connected() and time.monotonic() < patience):",
        "        while False and patience:",
        G + "test_g01_switches.py",
    ),
    Plant(
        "g1",
        "a worker says that it follows the newest snapshot, and does not",
        "answers from a version that was not live",
        "serve/worker.py",
        "        self._board.move(endpoints, snapshot.number)\n",
        "        self._board.move(self._board.endpoints or endpoints, snapshot.number)\n",
        G + "test_g01_switches.py",
    ),
    Plant(
        "g2",
        "answers leave before they are in the log",
        "answered and not logged",
        "serve/recorder.py",
        "            journal.write(pieces)",
        "            journal.write(pieces[2:] or [b''])",
        G + "test_g02_kills.py::test_workers_killed_every_two_seconds",
    ),
    Plant(
        "g2",
        "a supervisor that thinks before it replaces",
        "serving again",
        "serve/supervisor.py",
        "        self._selector.unregister(child.control)\n",
        "        time.sleep(1.5)\n        self._selector.unregister(child.control)\n",
        G + "test_g02_kills.py::test_all_workers_killed_at_once_leave_the_spare",
    ),
    Plant(
        "g3",
        "a rollback waits for a control plane to start",
        "rollback with the control plane dead",
        "commands/rollback.py",
        "        made = rollback(app, endpoint, to=to, reason=reason)\n",
        "        ensure_running(home)\n        made = rollback(app, endpoint, to=to, reason=reason)\n",
        G + "test_g03_rollback.py::test_an_operator_takes_back",
    ),
    Plant(
        "g4",
        "told to end, it ends",
        "in-flight requests finished",
        "serve/listeners/doors.py",
        "        while self._held() or (self._connected() and time.monotonic() < patience):",
        "        while False and patience:",
        G + "test_g04_drain.py::test_sigterm_says_not_ready_finishes_and_exits",
    ),
    Plant(
        "g5",
        "who is refused is not told when to come back",
        "without Retry-After",
        "serve/refusals.py",
        '        headers = b"retry-after: %d',
        '        headers = b"retry-never: %d',
        G + "test_g05_overload.py",
    ),
    Plant(
        "g6",
        "what a client does not read is held for it",
        "slow connections never closed",
        "serve/listeners/door.py",
        "        if _UNREAD is not None:",
        "        if False and _UNREAD is not None:",
        G + "test_g06_slow_clients.py",
    ),
    Plant(
        "g7",
        "what a caller did wrong is told as our own fault",
        "answered 5xx",
        "serve/refusals.py",
        "    errors.InvalidInput: 400,",
        "    errors.InvalidInput: 500,",
        G + "test_g07_hostile.py",
    ),
    Plant(
        "g7",
        "a bomb is unpacked to the end",
        "MiB more under endless bodies and bombs",
        "serve/encodings.py",
        "            if size > limit or (size > _TRUSTED_BYTES and size > _RATIO * len(body)):",
        "            if False:",
        G + "test_g07_hostile.py",
    ),
    Plant(
        "g8",
        "a damaged record raises what nobody expects",
        "uncaught exceptions",
        "records/record.py",
        "    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:",
        "    except msgspec.ValidationError as error:",
        G + "test_g08_fuzz.py",
    ),
    Plant(
        "g9",
        "a refused body is never let go of",
        "resident MiB more after endless bodies",
        "serve/listeners/http_inflow.py",
        "        self.head_bytes = 0\n        self._body = []\n",
        "        self.head_bytes = 0\n"
        "        globals().setdefault('kept', []).append(self._body)\n        self._body = []\n",
        G + "test_g09_soak.py::test_refused_bodies_leave_nothing_behind",
    ),
    Plant(
        "g9",
        "something of each package stays when it is unloaded",
        "resident MiB more",
        "serve/models.py",
        "            self.models.pop(digest)",
        "            vars(self).setdefault('kept', []).append(bytearray(1 << 20))\n            self.models.pop(digest)",
        G + "test_g09_soak.py::test_loads_and_unloads_leave_nothing_behind",
    ),
    Plant(
        "g12",
        "a status that cannot be written ends the worker",
        "failed predictions",
        "serve/snapshots.py",
        "    except OSError as error:\n        _LOG.log(",
        "    except ZeroDivisionError as error:\n        _LOG.log(",
        G + "test_g12_disk.py::test_a_worker_that_dies_is_replaced",
    ),
    Plant(
        "g12",
        "a strict endpoint answers what is not on disk",
        "acknowledged while nothing could be durable",
        "serve/recorder.py",
        "            self._meters.sync_failed()\n            return False",
        "            self._meters.sync_failed()\n            return True",
        G + "test_g12_disk.py",
    ),
    Plant(
        "g13",
        "packages are believed, not verified",
        "answers from a copy with a byte changed",
        "packages/read.py",
        "    _check_contents(folder, manifest)\n",
        "",
        G + "test_g13_alone.py",
    ),
    Plant(
        "g16",
        "a model that died is mourned",
        "replaced after",
        "runtime/workers.py",
        "        self.deaths += 1\n        ended = current.end()",
        "        self.deaths += 1\n        __import__('time').sleep(3.0)\n        ended = current.end()",
        G + "test_g16_poison.py",
    ),
)
