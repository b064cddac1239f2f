"""The user's own training command, run once, apart from us.

What comes in: a command line as the user wrote it, and the joined data. What goes out: a `Retrained` that says where
the new model and the log are. The command learns where things are from its environment:

    PENSTOCK_DATA      parquet file of what production taught: inputs and outcomes
    PENSTOCK_MODEL     where it must leave the new model
    PENSTOCK_<FACT>    every fact the caller tells: ENDPOINT, REASON, LABEL, INPUTS ...

What it leaves is a candidate like any other: it goes through package, gate and rollout.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.errors import BadConfig, NotReady, TargetFailed
from penstock.records import Record

SECRETS = ("PENSTOCK_TOKEN", "PENSTOCK_KEY")
TAIL = 2000
LOOK_S = 0.2


@dataclass(frozen=True)
class Terms:
    """What a training command runs under.

    Attributes:
        limit_s: Time after which it is stopped, with all it started.
        folder: Where it runs; None where we do.
        stopped: Once set, it is stopped too.
    """

    limit_s: float = 3600.0
    folder: Path | None = None
    stopped: threading.Event = field(default_factory=threading.Event)


class Retrained(Record, frozen=True, kw_only=True):
    """What a training command left behind.

    Attributes:
        model: The new model's file or folder.
        data: The parquet file it was given.
        log: All that it printed.
    """

    model: str
    data: str
    log: str
    seconds: float


def retrain(
    command: str,
    joined: pa.Table,
    folder: Path,
    *,
    facts: Mapping[str, str],
    terms: Terms | None = None,
) -> Retrained:
    """Run a training command and wait for it.

    Args:
        command: As one types it; no shell reads it, so pipes and wildcards mean nothing. ``python`` is the one that
            Penstock runs in.
        joined: Written to ``data.parquet`` for it.
        folder: Everything of this run lies there; made if it is not there.
        facts: What to tell it, by name: ``endpoint``, ``reason``; ``PENSTOCK_`` is put before each.
        terms: Time limit, working folder, and how to stop it.

    Raises:
        BadConfig: The command cannot be read or is not there.
        TargetFailed: It failed, ran out of time, or left no model; the end of its log is in the message.
        NotReady: It was stopped before it ended.
    """
    terms = terms or Terms()
    arguments = _arguments(command)
    folder.mkdir(parents=True, exist_ok=True)
    data, model, log = folder / "data.parquet", folder / "model.joblib", folder / "train.log"
    pq.write_table(joined, data, compression="zstd")
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    told = {f"PENSTOCK_{name.upper()}": value for name, value in facts.items()}
    environment = {**inherited, **told, "PENSTOCK_DATA": str(data), "PENSTOCK_MODEL": str(model)}
    started = time.monotonic()
    with log.open("wb") as out:
        code = _run(arguments, environment, out.fileno(), terms)
    if terms.stopped.is_set():
        raise NotReady("the training command was stopped with the control plane", "it runs again with the next one")
    if code is None:
        raise _failed(f"the training command was stopped after {terms.limit_s:g} s", log)
    if code:
        raise _failed(f"the training command ended with {code}", log)
    if not model.exists():
        raise _failed("the training command left no model", log)
    return Retrained(model=str(model), data=str(data), log=str(log), seconds=time.monotonic() - started)


def _arguments(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise BadConfig(f"the training command cannot be read: {error}", "check its quotes") from error
    if not arguments:
        raise BadConfig("the training command is empty", "write it as you would type it")
    return [sys.executable, *arguments[1:]] if arguments[0] == "python" else arguments


def _run(arguments: list[str], environment: Mapping[str, str], out: int, terms: Terms) -> int | None:
    """The exit code; None if it ran out of time or was stopped. Its whole process group is stopped then."""
    try:
        process = subprocess.Popen(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=terms.folder,
        )
    except OSError as error:
        raise BadConfig(f"the training command did not start: {error.strerror}", "check that it is there") from error
    deadline = time.monotonic() + terms.limit_s
    try:
        while process.poll() is None and time.monotonic() < deadline and not terms.stopped.wait(LOOK_S):
            pass
        return process.poll()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _failed(what: str, log: Path) -> TargetFailed:
    tail = log.read_bytes()[-TAIL:].decode(errors="replace").strip()
    return TargetFailed(f"{what}: {tail}" if tail else what, f"its whole log is {log.name}", code="feedback.retrain")
