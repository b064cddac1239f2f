"""One environment a peer, from its locked requirements; made once, made again when the lock changes.

peers/requirements/NAME.txt -> .venv/peers/NAME
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.places import ENVIRONMENTS, REQUIREMENTS, ROOT

MARK = "made-from"
OURS = ("penstock", "penstock_simd", "penstock_python", "penstock_before")
"""Environments that get the wheel of a source tree on top."""


def environment(name: str, source: Path = ROOT) -> Path:
    """The folder of an environment, made if need be.

    Args:
        name: Of its requirements file.
        source: The tree whose wheel goes into our own environments.

    Raises:
        RuntimeError: An install failed; with its last words.
    """
    lock = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    place = ENVIRONMENTS / (f"{name}-{source.name}" if name in OURS and source != ROOT else name)
    mark = place / MARK
    if not mark.exists() or mark.read_text() != digest:
        _make(place)
        _install(place, "--require-hashes", "-r", str(lock))
        mark.write_text(digest)
    if name in OURS:
        _add_wheel(place, source)
    return place


def installed_mib(place: Path) -> float:
    """Size of everything installed, without the interpreter's own files and pip's."""
    packages = next(place.glob("lib/python3*/site-packages"))
    own = [path for path in packages.iterdir() if not path.name.startswith(("pip", "setuptools", "_virtualenv"))]
    files = [file for path in own for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


def _make(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    uv = _uv()
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(place)] if uv else [
        sys.executable, "-m", "venv", str(place)
    ])  # fmt: skip


def _install(place: Path, *what: str) -> None:
    uv, python = _uv(), str(place / "bin" / "python")
    tool = [uv, "pip", "install", "--python", python, "--compile-bytecode"] if uv else [python, "-m", "pip", "install"]
    _run([*tool, "--quiet", *what])


def _add_wheel(place: Path, source: Path) -> None:
    """Build the wheel of a tree, from a copy so that nothing is left in it, and install it alone."""
    digest = hashlib.sha256()
    files = sorted(path for path in (source / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in (*files, source / "pyproject.toml"):
        digest.update(path.read_bytes())
    mark = place / "wheel-of"
    if mark.exists() and mark.read_text() == digest.hexdigest():
        return
    with TemporaryDirectory(prefix="penstock-wheel-") as scratch:
        copy = Path(scratch) / "tree"
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(source / "src", copy / "src", ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(source / name, copy)
        wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        _run([*wheel, "--wheel-dir", scratch, str(copy)])
        (built,) = Path(scratch).glob("*.whl")
        _install(place, "--no-deps", "--force-reinstall", str(built))
    mark.write_text(digest.hexdigest())


def _uv() -> str:
    """The quick installer where it is there; pip does it too."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or ""


def _run(command: list[str]) -> None:
    # uv has its own name for what pip's users have set.
    found = {"UV_FIND_LINKS": os.environ["PIP_FIND_LINKS"]} if "PIP_FIND_LINKS" in os.environ else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**found, **os.environ})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ...: {done.stderr.strip()[-600:]}")
