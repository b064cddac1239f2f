"""The environment that a sandboxed model needs: this interpreter's, or one built from its lock.

    requirements.lock -> pins -> satisfied here? -> None (this interpreter)
                              `-> cache/<lock digest>/bin/python, built once: hashed wheels only, nothing compiled

Environments are built outside of the sandbox (they need the package index), from hashes alone, so that what is
installed is what was locked; code in them runs behind the walls only. A lock comes with a package, and pip would take
options, variables and other files from it: it is read here, and pip is given the pins that were read. One process
builds an environment, others wait for it; one that is killed at it leaves nothing that anybody takes for one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from penstock.access.files import locked
from penstock.errors import BadConfig

LOCK = "requirements.lock"
"""Name of the lock in a package: pip's own format, ``name==version --hash=sha256:...``."""

ENVIRONMENT = "environment"
"""In a manifest's source: the model was packaged with requirements of its own, for that Python and machine."""

MAX_BYTES = 4 << 20
_NEEDED = ("numpy", "msgspec")
_BUILD_S = 1800
_HALF = ".building-"
_COMMENT = re.compile(r"(^|[ \t])#.*")
_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,200})(?P<extras>\[[A-Za-z0-9._, -]{0,200}\])?[ \t]*=="
    r"[ \t]*(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]{0,100})"
    r"(?P<marker>[ \t]*;[A-Za-z0-9_.<>=!~'\"() \t-]{1,500}?)?(?P<hashes>([ \t]+--hash=sha256:[0-9a-f]{64})*)"
)


def environment(lock_file: Path, cache: Path) -> Path | None:
    """The interpreter that has exactly what the lock says.

    Args:
        lock_file: pip requirements with versions, and hashes where an environment may have to be built.
        cache: Folder of environments, by digest of their lock.

    Returns:
        Path of an interpreter; None stands for this one.

    Raises:
        BadConfig: The lock cannot be read or has no hashes, or pip cannot install it; the hint says which.
    """
    if not differing(parse(_text(lock_file))):
        return None
    return built_environment(lock_file, cache)


def built_environment(lock_file: Path, cache: Path) -> Path:
    """The interpreter of a lock's own environment, also where this one has the same versions.

    Raises:
        BadConfig: As `environment`.
    """
    text = _text(lock_file)
    pins = parse(text)
    place = cache / hashlib.sha256(text.encode()).hexdigest()
    python = place / "bin" / "python"
    if not python.exists():
        _require_buildable(text, pins)
        _build_once(_written(text), place)
    return python


def require_here(lock_file: Path) -> None:
    """Refuse to run on this interpreter what was packaged for another environment.

    Raises:
        BadConfig: Its versions are others.
    """
    other = differing(parse(_text(lock_file)))
    if other:
        raise BadConfig(
            f"the model has an environment of its own, and {', '.join(other[:5])} are others here",
            "say where environments are kept: --environments FOLDER",
            code="runtime.no_environment",
        )


def _text(lock_file: Path) -> str:
    """A lock's text, of a length that a lock has."""
    with lock_file.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    try:
        if len(data) <= MAX_BYTES:
            return data.decode()
    except UnicodeDecodeError:
        pass
    raise BadConfig("the lock is no list of pins", "package the model again", code="runtime.bad_lock")


def parse(text: str) -> dict[str, str]:
    """Pinned versions by normalised name; a pin with a marker is one that may be absent.

    Raises:
        BadConfig: A line is no pin.
    """
    pins: dict[str, str] = {}
    for match in _read(text):
        name = re.sub(r"[-_.]+", "-", match["name"]).lower()
        pins[f"{name};" if match["marker"] else name] = match["version"]
    return pins


def _read(text: str) -> Iterator[re.Match[str]]:
    """Each pin; nothing else stands in a lock, and no reader could take it for anything else.

    Raises:
        BadConfig: A line is none.
    """
    held, begun = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        plain = _COMMENT.sub("", line.removesuffix("\r")).strip(" \t")
        begun = begun if held else number
        held = f"{held} {plain.removesuffix(chr(92))}".strip(" \t")
        if plain.endswith("\\") or not held:
            continue
        match = _LINE.fullmatch(held)
        if match is None or " -" in (match["marker"] or ""):
            raise _no_pin(begun)
        yield match
        held = ""
    if held:
        raise _no_pin(begun)


def _written(text: str) -> str:
    """The pins in the one form that is given to pip."""
    lines = []
    for match in _read(text):
        name, extras, version_, marker, hashes = match.group("name", "extras", "version", "marker", "hashes")
        lines.append(f"{name}{extras or ''}=={version_}{marker or ''}{hashes}\n")
    return "".join(lines)


def _no_pin(number: int) -> BadConfig:
    return BadConfig(
        f"line {number} of the lock is no pin (name==version)", "package the model again", code="runtime.bad_lock"
    )


def differing(pins: dict[str, str]) -> list[str]:
    """Names whose version here is not the pinned one, sorted."""
    return sorted(name.rstrip(";") for name, pin in pins.items() if not _satisfied(name, pin))


def _satisfied(name: str, pin: str) -> bool:
    """Whether this interpreter has that version, or may do without."""
    try:
        return version(name.rstrip(";")) == pin
    except PackageNotFoundError:
        return name.endswith(";")


def _require_buildable(text: str, pins: dict[str, str]) -> None:
    """Refuse to build what cannot be checked, or could not answer."""
    lacking = [name for name in _NEEDED if name not in pins]
    if lacking:
        raise BadConfig(
            f"the lock lacks {' and '.join(lacking)}, which a worker needs",
            "package the model again",
            code="runtime.bad_lock",
        )
    if "--hash=" not in text:
        raise BadConfig(
            f"this interpreter has other versions of {', '.join(differing(pins)[:5])}, and the lock has no hashes",
            "install those versions, or lock the model with hashes and package it again",
            code="runtime.bad_lock",
        )


def _build_once(pins: str, place: Path) -> None:
    """Build it unless somebody else does: then wait for theirs. What a killed builder left is removed first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    turn = place.with_name(f".{place.name}.lock")
    with locked(turn):
        if (place / "bin" / "python").exists():
            return
        for half in place.parent.glob(f"{_HALF}{place.name[:16]}-*"):
            shutil.rmtree(half, ignore_errors=True)
        try:
            _build(pins, place)
        finally:
            # Whoever waited at this file looks for the environment first; whoever comes now makes another file.
            turn.unlink(missing_ok=True)


def _build(pins: str, place: Path) -> None:
    """Build beside the place, then rename, so that nobody ever sees half an environment."""
    half = Path(mkdtemp(prefix=f"{_HALF}{place.name[:16]}-", dir=place.parent))
    install = ["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement"]
    try:
        # This interpreter's own pip installs into it; making it one of its own takes seconds.
        own = find_spec("pip") is not None
        _run([sys.executable, "-I", "-m", "venv", "--clear", *(["--without-pip"] if own else []), str(half)])
        python = str(half / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python] if own else [python, "-I", "-m", "pip"]
        (half / LOCK).write_text(pins, encoding="utf-8")
        _run([*pip, *install, str(half / LOCK)])
        os.sync()  # its files first, then its name
        os.rename(half, place)
    except OSError:
        # Somebody else was faster; theirs is as good.
        if not (place / "bin" / "python").exists():
            raise
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _run(command: list[str]) -> None:
    """Run one step of the build.

    Raises:
        BadConfig: It failed; the message ends with its last words.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
    except subprocess.TimeoutExpired:
        raise BadConfig(
            f"building the model's environment took longer than {_BUILD_S} s",
            "look at the network and try again",
            code="runtime.no_environment",
        ) from None
    if done.returncode:
        raise BadConfig(
            f"the model's environment cannot be built: {done.stderr.strip()[-500:]}",
            "look at the network and the package index; the lock may be for another platform or Python",
            code="runtime.no_environment",
        )
