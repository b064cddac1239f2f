"""The judge seen failing: a door that does each harm itself, and holes made in a copy of the product.

python -m tests.security.teeth canaries     one door for each canary and each thing that the hook watches
python -m tests.security.teeth holes        one hole for each wall of the audits; a minute each
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from penstock.errors import Untrusted
from tests.security.artifacts.artifact import Target, file_of
from tests.security.artifacts.opcodes import call, pickled

ROOT = Path(__file__).parents[2]


class Harm(NamedTuple):
    """A door that does harm, and the word by which the judge has to tell it."""

    told: str
    do: Callable[[Path, Path, Target], None]


def _refuse(*_: object) -> None:
    raise Untrusted("no", "no")


HARMS: dict[str, Harm] = {
    "writes a file": Harm("was written", lambda path, out, target: Path(target.marker).write_text("x")),
    "changes a file": Harm("was changed", lambda path, out, target: os.chmod(target.secret, 0o644)),
    "writes elsewhere": Harm("open to write", lambda path, out, target: open("/var/tmp/penstock-teeth", "w").close()),
    "reads the secret": Harm("open ", lambda path, out, target: Path(target.secret).read_text()),
    "keeps the secret": Harm("stands in what was made", lambda path, out, target: shutil.copy(target.secret, out / "kept")),
    "connects": Harm("somebody connected", lambda path, out, target: socket.create_connection(("127.0.0.1", target.port)).close()),
    "is heard to connect": Harm("socket.connect", lambda path, out, target: socket.create_connection(("127.0.0.1", target.port)).close()),
    "sends": Harm("datagram", lambda path, out, target: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", target.port))),
    "runs a shell": Harm("os.system", lambda path, out, target: os.system("true")),
    "starts a process": Harm("subprocess.Popen", lambda path, out, target: subprocess.run(["true"])),
    "leaves a process": Harm("processes were left", lambda path, out, target: subprocess.Popen(["sleep", "20"])),
    "sends itself a signal": Harm("signals came", lambda path, out, target: os.kill(os.getpid(), signal.SIGUSR1)),
    "changes the environment": Harm("environment", lambda path, out, target: os.environ.update(HARM="1")),
    "unpickles": Harm("pickle.find_class", lambda path, out, target: pickle.loads(path.read_bytes())),
    "runs hostile code": Harm("exec ", lambda path, out, target: exec(compile(f"x = {target.marker!r}", "evil.py", "exec"))),
    "imports a file of it": Harm("import harm_of_teeth", lambda path, out, target: _import_from(out)),
    "lets it in": Harm("let in", lambda path, out, target: None),
    "breaks": Harm("KeyError", lambda path, out, target: {}["x"]),
    "refuses without a way on": Harm("no way on", lambda path, out, target: _raise("no", "")),
    "tells values": Harm("tells values", lambda path, out, target: _raise(target.marker, "no")),
    "cleans the screen": Harm("no words for people", lambda path, out, target: _raise("\x1b[2J", "no")),
    "leaves something behind": Harm("left behind", lambda path, out, target: (out / "rest").write_text("x") and _refuse()),
}  # fmt: skip


class Hole(NamedTuple):
    """A fault in a copy of the source, and the artifacts of which one at least must then be let in, or do harm."""

    what: str
    file: str
    old: str
    new: str
    family: str
    name: str


HOLES = (
    Hole("every name is allowed", "build/pickles/audit.py", "    module, _, attribute = name.rpartition(\".\")\n    if name in", "    return True\n    module, _, attribute = name.rpartition(\".\")\n    if name in", "pickle", "calls os.system"),
    Hole("a library's imports pass for its own", "build/pickles/audit.py", "    return bool(known) and _is_its_own(module, attribute)", "    return bool(known)", "pickle", "calls sklearn.callback._transport.Client"),
    Hole("what goes on behind the end is not seen", "build/pickles/audit.py", "if goes_on and not refused:", "if False:", "pickle", "two streams"),
    Hole("a dtype of a class is believed", "build/pickles/inert.py", "    _require_plain(arguments)\n    return np.dtype", "    return np.dtype", "joblib", "a dtype of a class"),
    Hole("other operators are let in", "build/formats/onnx.py", "refused=tuple(map(shown, carried(model)))", "refused=()", "onnx", "an operator of 'com.microsoft'"),
    Hole("graphs are served with numbers outside", "runtime/engines/onnxruntime.py", "    if not require_whole(graph, beside):\n", "    if True:\n", "package", "an ONNX graph with external data: a path that climbs"),
    Hole("folders are read through links", "build/folders.py", "with open_file(folder, name) as content", 'with (folder / name).open("rb") as content', "encoder", "a folder that is a link"),
    Hole("a lock may say more than pins", "runtime/environments.py", r"(?P<hashes>([ \t]+--hash=sha256:[0-9a-f]{64})*)", "(?P<hashes>.*)", "package by hand", "a lock of sources to be built"),
    Hole("a sandbox's words are shown as they are", "runtime/sandbox.py", "    safe = \"\".join(", "    return text\n    safe = \"\".join(", "taken sandbox", "a refusal that cleans the screen"),
    Hole("scores may hold objects", "build/scores.py", "np.load(BytesIO(data), allow_pickle=False)", "np.load(BytesIO(data), allow_pickle=True)", "taken sandbox", "scores of objects"),
    Hole("what the sandbox left is read through links", "packages/tree.py", "_READ = os.O_RDONLY | os.O_NOFOLLOW |", "_READ = os.O_RDONLY |", "taken sandbox", "examples that are a link to the secret"),
    Hole("archives may climb", "packages/archive.py", "        check_name(name)\n", "", "archive", "tar: a name climbing"),
)  # fmt: skip


def canaries() -> int:
    """Each harm, and whether it was told; 0 where all were."""
    from tests.security.judge import Judge

    judge = Judge(fresh=True)
    target = judge.canaries.target
    artifact = file_of("teeth", "a pickle", lambda _: pickled(call("builtins", "int", "7")))
    told = {}
    for name, harm in HARMS.items():
        judge.doors["mar"] = lambda path, out, harm=harm: harm.do(path, out, target)
        told[name] = any(harm.told in one for one in judge.judge(artifact, "mar").wrong)
    judge.doors["mar"] = _refuse
    told["harm where there is none"] = not judge.judge(artifact, "mar").wrong
    judge.close()
    Path("/var/tmp/penstock-teeth").unlink(missing_ok=True)
    print(json.dumps(told))
    return 0 if all(told.values()) else 1


def holes() -> int:
    """Each hole in a copy of the source: the judge tells harm, or another wall refuses; 0 where either is so.

    What is refused in the very words of the whole product was not stopped by this wall, and the hole shows nothing.
    """
    missed = 0
    for hole in HOLES:
        _, whole = _judged(hole, ROOT / "src")
        with tempfile.TemporaryDirectory(prefix="penstock-hole-") as folder:
            copy = Path(folder) / "src"
            shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            file = copy / "penstock" / hole.file
            source = file.read_text()
            assert source.count(hole.old) == 1, f"{hole.what}: {hole.file} has changed, say it anew"
            file.write_text(source.replace(hole.old, hole.new))
            told, refused = _judged(hole, copy)
        outcome = "told" if told else "MISSED" if refused == whole else "refused by another wall"
        missed += outcome == "MISSED"
        print(f"{outcome}: {hole.what}", flush=True)
    return int(missed > 0)


def _judged(hole: Hole, source: Path) -> tuple[bool, list[str]]:
    """Whether the judge tells harm of a hole's artifacts below some source, and the words they are refused in."""
    with tempfile.TemporaryDirectory(prefix="penstock-hole-") as folder:
        out = Path(folder) / "verdicts"
        asked = ["--no-code", "--family", hole.family, "--name", hole.name, "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.judge", *asked],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
        )
        verdicts = [json.loads(line) for line in out.read_text().splitlines()]
    return done.returncode == 1 and "NOT OK" in done.stdout, [one["refused"] for one in verdicts]


def _raise(message: str, hint: str) -> None:
    raise Untrusted(message, hint)


def _import_from(folder: Path) -> None:
    (folder / "harm_of_teeth.py").write_text("x = 1\n")
    sys.path.insert(0, str(folder))
    try:
        __import__("harm_of_teeth")
    finally:
        sys.path.remove(str(folder))


if __name__ == "__main__":
    sys.exit({"canaries": canaries, "holes": holes}[sys.argv[1]]())
