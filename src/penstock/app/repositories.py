"""What git knows: the commit that code stands at, and files as a commit has them.

Comes in: a folder or a file's place. Goes out: facts, or bytes. Git's own program is asked; nothing is fetched.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from penstock.errors import BadConfig, NotFound, TargetFailed

_PATIENCE_S = 30.0
_QUICK_S = 5.0
_CODE = ("*.py", "*.ipynb", "*.R", "*.sql")


class _NoGitError(Exception):
    """Git is not installed, did not answer in time, or said no."""


def code_state(folder: Path, *, apart: Path) -> dict[str, str]:
    """Where the code in a folder stands: commit, repository, and what of it is in no commit.

    Args:
        folder: Where somebody works.
        apart: A folder whose files are no code of theirs (the home).

    Returns:
        Facts by name; empty outside of a repository, or where git is not installed.
    """
    try:
        commit = _git(folder, "rev-parse", "--verify", "HEAD^{commit}", patience_s=_QUICK_S)
        top = Path(_git(folder, "rev-parse", "--show-toplevel", patience_s=_QUICK_S))
        own = _relative(apart, top)
        but = [f":(exclude,top,literal){own}"] if own else []
        changed = _git(top, "diff", "--no-ext-diff", "--name-only", "-z", "HEAD", "--", ".", *but)
        fresh = _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", *_CODE, *but)
    except _NoGitError:
        return {}
    counts = {"changed": _entries(changed), "not in git": _entries(fresh)}
    told = [f"{count} {what}" for what, count in counts.items() if count]
    facts = {"commit": commit, "uncommitted": ", ".join(told) or "nothing"}
    try:
        facts["repository"] = _without_secrets(_git(top, "config", "--get", "remote.origin.url", patience_s=_QUICK_S))
    except _NoGitError:
        return facts  # it has no origin
    return facts


def commit_at(place: Path, revision: str) -> str:
    """The commit that a revision of a file's repository means, in full.

    Raises:
        BadConfig: It is in no repository, or that has no such revision.
        TargetFailed: Git is not installed.
    """
    _require_git()
    if revision.startswith("-"):
        raise BadConfig("that is no revision", "give a commit, a branch or a tag", where=place.name)
    try:
        return _git(_nearest(place), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except _NoGitError as error:
        raise BadConfig(
            "there is no such file, and no such revision of it in git",
            "check the path, and what stands behind the @",
            where=place.name,
        ) from error


@contextmanager
def blob_at(place: Path, commit: str) -> Iterator[Path]:
    """A file as a commit has it, in a scratch file that goes away afterwards.

    Raises:
        NotFound: The commit has no such file.
    """
    folder = _nearest(place)
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
        copy = Path(scratch) / place.name
        name = place.relative_to(folder).as_posix()
        with copy.open("wb") as file:
            command = ["git", "-C", str(folder), "cat-file", "blob", f"{commit}:./{name}"]
            done = subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise NotFound("that commit has no such file", "look with git ls-tree", where=place.name)
        yield copy


def lfs_object(place: Path, oid: str) -> Path:
    """The file that a git-lfs pointer stands for.

    Raises:
        NotFound: This machine does not have it.
        TargetFailed: Git is not installed.
    """
    _require_git()
    folder = _nearest(place)
    try:
        common = folder / _git(folder, "rev-parse", "--git-common-dir")
    except _NoGitError as error:
        raise NotFound("a git-lfs pointer outside of a repository", "give the data", where=place.name) from error
    found = common / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    if not found.is_file():
        raise NotFound("the data of the git-lfs pointer are not on this machine", "run git lfs pull", where=place.name)
    return found


def _git(folder: Path, *words: str, patience_s: float = _PATIENCE_S) -> str:
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=patience_s, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise _NoGitError from error
    return done.stdout.decode(errors="replace").strip("\n")


def _require_git() -> None:
    try:
        _git(Path("/"), "--version")
    except _NoGitError as error:
        raise TargetFailed("git is not installed", "apt-get install git", code="app.no_git") from error


def _nearest(place: Path) -> Path:
    """The folder of a file; where a later commit took it away, the nearest that is still there."""
    return next(one for one in place.parents if one.is_dir())


def _relative(folder: Path, top: Path) -> str:
    """A folder's path below another; empty where it is not below it."""
    absolute = folder.resolve()
    return absolute.relative_to(top).as_posix() if absolute.is_relative_to(top) and absolute != top else ""


def _entries(listed: str) -> int:
    return len([one for one in listed.split("\0") if one])


def _without_secrets(url: str) -> str:
    """A remote's address without a name, a password or a token that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")) if parts.netloc else url
