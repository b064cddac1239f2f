"""The work that is killed: a fork server, so that each kill costs a fork and not an interpreter's start.

Reads one JSON line a run from stdin ({home, acks, n, mode, count}), forks, does the work in the child with the
shim armed, and answers with the child's exit status. What was acknowledged is synced to `acks`, outside the home.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from penstock.errors import PenstockError
from penstock.records import Dataset, IdentityRecord, Version
from penstock.registry.registry import Registry
from penstock.registry.stores import sqlite

assert sqlite, "loaded here, once, so that no child has to"

FILES = {"manifest.json": b'{"a":1}' * 40, "model/model.onnx": b"\x00\x01" * 3000}
DIGEST = "sha256:" + hashlib.sha256(b"folder").hexdigest()
REPORT = b"<html>" + b"x" * 5000


def acknowledge(acks: int, what: dict[str, object]) -> None:
    os.write(acks, json.dumps(what).encode() + b"\n")


def attempt(step: Callable[[], dict[str, object]], acks: int) -> bool:
    """Whether a step was acknowledged; a step that failed aloud was not, and the work goes on."""
    try:
        said = step()
    except (PenstockError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return False
    acknowledge(acks, said)
    return True


def work(home: Path, acks: int, source: Path) -> None:
    opened: list[Registry] = []

    def start() -> dict[str, object]:
        opened.append(Registry.open(home))
        return {"token": opened[0].local_token()}

    # One injected error must not outlive itself: the second try finds a home that can be opened.
    if not attempt(start, acks) and not attempt(start, acks):
        raise SystemExit(3)
    registry = opened[0]
    admin = registry.identity_of(registry.local_token())

    def append(kind: str, subject: str, record: object) -> dict[str, object]:
        event = registry.append(kind, subject, record, by=admin)  # type: ignore[arg-type]
        return {"seq": event.seq, "hash": event.hash}

    version = Version(model="m", version=1, digest=DIGEST, author="admin", created_at=1.0)
    attempt(lambda: {"folder": str(registry.packages.put_folder(source, DIGEST))}, acks)
    attempt(lambda: append("version.registered", "model/m", version), acks)
    attempt(lambda: {"report": registry.reports.put_bytes(REPORT, suffix=".html")}, acks)
    attempt(lambda: append("identity.added", "identity/eve", IdentityRecord(name="eve", roles=("viewer",))), acks)
    attempt(lambda: append("dataset.registered", "dataset/d", Dataset(name="d", digest=DIGEST, rows=3)), acks)
    registry.close()


def child(run: dict[str, str], source: Path) -> None:
    for name in ("KP_N", "KP_MODE", "KP_COUNT"):
        value = run.get(name.removeprefix("KP_").lower(), "")
        if value:
            os.environ[name] = value
    os.environ["KP_PREFIX"] = run["home"]
    acks = os.open(run["acks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    work(Path(run["home"]), acks, source)


def main() -> None:
    source = Path(sys.argv[1])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), source)
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
