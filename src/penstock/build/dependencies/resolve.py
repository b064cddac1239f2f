"""Somebody's requirements become a lock: exact versions and hashes of all that is needed, for this Python and machine.

    requirements.txt | requirements.lock + what a worker needs -> pip's resolver -> name==version --hash=sha256:...

What comes in: pip requirements by name, with or without versions, hashes and markers. What goes out: the text of a
lock. No address of an index, no path and no option may stand in it: what is installed is named by its digest alone.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from penstock.build.dependencies.lock import WORKER, PipReport, normalised
from penstock.errors import BadConfig, NotFound, Untrusted

MAX_BYTES = 1 << 20
OF_A_KIND = {"mlflow": ("pyyaml",), "sklearn": ("joblib",)}
"""What a worker needs to open a model of a format, beside the model's own."""

_RESOLVE_S = 900
_HASH = re.compile(r"--hash[= ]sha256:([0-9a-f]{64})")
_HEX = re.compile(r"[0-9a-f]{64}")


class Requested(msgspec.Struct, frozen=True):
    """One requirement: how it is written without its hashes, and which of them it allows; none allows all."""

    line: str
    name: str
    hashes: frozenset[str]


def resolve(requirements: Path, kind: str) -> str:
    """The text of a lock.

    Args:
        requirements: pip requirements.
        kind: A name of the adapters' ``format`` table: what its worker needs is added.

    Raises:
        NotFound: There is no such file.
        BadConfig: A line is more than a name and versions, or no index has such versions for this Python.
        Untrusted: What the index has is not what the requirements' hashes say.
    """
    if not requirements.is_file():
        raise NotFound("there is no such file of requirements", "check the path", code="build.no_requirements")
    with requirements.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise BadConfig("the requirements are no list of distributions", "give a requirements.txt or a lock")
    asked = tuple(_asked(text.decode("utf-8", "replace")))
    known = {one.name for one in asked}
    added = [name for name in (*WORKER, *OF_A_KIND.get(kind, ())) if name not in known]
    report = _from_pip([*(one.line for one in asked), *added])
    return _written(report, {one.name: one.hashes for one in asked})


def _asked(text: str) -> Iterator[Requested]:
    """Requirements line by line, each with the hashes on the lines that follow."""
    joined = text.replace("\\\r\n", " ").replace("\\\n", " ")
    for number, line in enumerate(joined.splitlines(), start=1):
        plain = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not plain:
            continue
        written = _HASH.sub("", plain).strip()
        try:
            requirement = Requirement(written)
        except InvalidRequirement:
            requirement = None
        if requirement is None or requirement.url:
            raise BadConfig(
                f"requirement {number} is not a distribution's name with versions",
                "leave options, addresses and paths out; what is no wheel of an index goes into the model's folder",
                code="build.bad_requirement",
            )
        yield Requested(written, normalised(requirement.name), frozenset(_HASH.findall(plain)))


def _from_pip(lines: Iterable[str]) -> PipReport:
    """What pip would install, wheels only, in an environment that has nothing yet.

    Raises:
        BadConfig: It finds none.
    """
    if find_spec("pip") is None:
        raise BadConfig("resolving requirements needs pip", "install pip beside Penstock", code="build.no_pip")
    with TemporaryDirectory(prefix="penstock-") as place:
        file, found = Path(place) / "requirements.txt", Path(place) / "report.json"
        file.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--only-binary", ":all:", "--report", str(found), "-r", str(file)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_RESOLVE_S, check=False)
            if done.returncode == 0:
                return msgspec.json.decode(found.read_bytes(), type=PipReport)
        except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            raise _unresolved(type(error).__name__) from error
    told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
    raise _unresolved(" ".join(told)[-500:])


def _written(report: PipReport, hashes: Mapping[str, frozenset[str]]) -> str:
    """A lock's text; each digest held against those that were given."""
    pins = [f"# Resolved for Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.machine()}."]
    for one in sorted(report.install, key=lambda each: normalised(each.metadata.name)):
        name = normalised(one.metadata.name)
        digest = one.download_info.archive_info.hashes.get("sha256", "")
        allowed = hashes.get(name, frozenset())
        if _HEX.fullmatch(digest) is None:
            raise BadConfig(f"the index gives no SHA-256 of {name}", "use an index that does", code="build.no_hash")
        if allowed and digest not in allowed:
            raise Untrusted(
                f"the index's file of {name} is none of those that the lock names",
                "lock it again for this Python and machine, or find out who changed it",
                code="build.other_file",
            )
        pins.append(f"{name}=={one.metadata.version} --hash=sha256:{digest}")
    return "\n".join(pins) + "\n"


def _unresolved(why: str) -> BadConfig:
    return BadConfig(
        f"the requirements cannot be resolved: {why}",
        f"they have to have wheels for Python {sys.version_info[0]}.{sys.version_info[1]} here; look at the index, too",
        code="build.unresolved",
    )
