"""The dependency lock: what the original model needs, pinned to what is installed, with hashes where an index answers.

    imported packages -> distributions and what they require -> name==version -> hashes from the index (cached)

What comes in: the top-level packages that the model names. What goes out: pip requirements. An address of an
index never gets into them, and an index that does not answer within seconds only costs the hashes.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import msgspec
from packaging.requirements import Requirement

NAME = "requirements.lock"
WORKER = ("numpy", "msgspec")
"""What a sandboxed worker needs besides the model's own."""

_INDEX_S = 8.0
_HEX = re.compile(r"[0-9a-f]{64}")


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """A lock.

    Attributes:
        text: pip requirements.
        missing: Distributions that no hash is known of.
    """

    text: str
    missing: tuple[str, ...] = ()


class _Archive(msgspec.Struct):
    """What pip's report says of one file."""

    hashes: dict[str, str] = {}


class _Download(msgspec.Struct):
    """Where pip would take it from; the address is not looked at."""

    archive_info: _Archive = msgspec.field(default_factory=_Archive)


class _Metadata(msgspec.Struct):
    """Which distribution it is."""

    name: str
    version: str


class _Install(msgspec.Struct):
    """One distribution of the report."""

    metadata: _Metadata
    download_info: _Download


class PipReport(msgspec.Struct):
    """pip's installation report, format 1."""

    install: list[_Install] = []


def lock(modules: Iterable[str], *, ask_index: bool = True) -> Locked:
    """Pins of everything that these top-level packages need here.

    Args:
        modules: Import names.
        ask_index: Whether hashes that the cache lacks may be asked for.
    """
    pins = closure(distributions_of(modules) | set(WORKER))
    known = _read_cache()
    if ask_index and any(_pin(*one) not in known for one in pins.items()):
        known = known | _from_index(pins)
        _write_cache(known)
    lines = ["# What the original model was built with; hashes are those of this platform's files."]
    for name, number in sorted(pins.items()):
        digest = known.get(_pin(name, number))
        lines.append(f"{_pin(name, number)} --hash=sha256:{digest}" if digest else _pin(name, number))
    missing = tuple(sorted(name for name, number in pins.items() if _pin(name, number) not in known))
    return Locked(text="\n".join(lines) + "\n", missing=missing)


def distributions_of(modules: Iterable[str]) -> set[str]:
    """Names of the installed distributions behind import names; unknown ones are left out."""
    known = packages_distributions()
    return {distribution for module in modules for distribution in known.get(module, ())[:1]}


def barred_by(pins: Mapping[str, str]) -> tuple[str, ...]:
    """Import names of what is installed here and of no pinned distribution; Penstock itself is never barred."""
    kept = {*(name.rstrip(";") for name in pins), "penstock"}
    known = packages_distributions()
    return tuple(sorted(module for module, owners in known.items() if kept.isdisjoint(map(normalised, owners))))


def closure(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of distributions and all they require, by normalised name."""
    pins: dict[str, str] = {}
    open_names = list(names)
    while open_names:
        name = normalised(open_names.pop())
        if name in pins:
            continue
        try:
            pins[name] = version(name)
        except PackageNotFoundError:
            continue
        for text in requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                open_names.append(requirement.name)
    return pins


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pin(name: str, number: str) -> str:
    """``name==version``."""
    return f"{name}=={number}"


def _from_index(pins: Mapping[str, str]) -> dict[str, str]:
    """Hashes by pin, from whatever index pip is set up with; empty where none answers in time."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "0", "--timeout", "3"]
    command += ["--only-binary", ":all:", "--report", "-", *(_pin(*one) for one in sorted(pins.items()))]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_INDEX_S, check=True)
        report = msgspec.json.decode(done.stdout, type=PipReport)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return {}
    found: dict[str, str] = {}
    for one in report.install:
        digest = one.download_info.archive_info.hashes.get("sha256", "")
        if _HEX.fullmatch(digest):
            found[_pin(normalised(one.metadata.name), one.metadata.version)] = digest
    return found


def _cache_file() -> Path:
    """Where hashes are remembered: by version, this Python and this platform."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "penstock" / f"hashes-{platform.machine()}-{sys.implementation.cache_tag}.json"


def _read_cache() -> dict[str, str]:
    """Hashes by pin; empty where there are none yet."""
    try:
        known = msgspec.json.decode(_cache_file().read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
    return {pin: digest for pin, digest in known.items() if _HEX.fullmatch(digest)}


def _write_cache(known: Mapping[str, str]) -> None:
    """Remember hashes; a cache that cannot be written is no loss."""
    place = _cache_file()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f".{place.name}.{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(dict(known), order="sorted"))
        fresh.replace(place)
    except OSError:
        return
