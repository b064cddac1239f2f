"""Where a model runs that was packaged with requirements: what its lock says, and which interpreter has that.

    requirements -> lock -> this interpreter has it? -> None : the environment built from it, once

What comes in: what a person asked for, and what the model's file is. What goes out: `Surroundings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from penstock.build.dependencies.lock import NAME, barred_by
from penstock.build.dependencies.resolve import resolve
from penstock.build.elsewhere import require_python
from penstock.build.examine import Looked
from penstock.build.request import BuildRequest
from penstock.runtime.environments import environment, parse


class Surroundings(NamedTuple):
    """What a model was given to run in.

    Attributes:
        lock: Text of the lock.
        python: The environment's interpreter; None where this one has all that the lock says.
        barred: Modules that are installed beside this interpreter and not in the lock.
    """

    lock: str
    python: Path | None
    barred: tuple[str, ...]


def find_surroundings(requirements: Path, looked: Looked, request: BuildRequest, place: Path) -> Surroundings:
    """Lock a model's requirements, and have the environment built unless it is there.

    Args:
        requirements: pip requirements, or a lock.
        looked: What the model's file is.
        request: Where environments are kept; who is told of the steps.
        place: A folder for the lock.

    Raises:
        BadConfig: The format runs no library; the requirements cannot be resolved or installed.
        NotFound: There is no such file.
        Untrusted: What the index has is not what the requirements' hashes say.
    """
    require_python(looked.kind)
    request.progress("resolving its requirements")
    text = resolve(requirements, looked.kind)
    (place / NAME).write_text(text)
    request.progress("building its environment, unless it is there")
    python = environment(place / NAME, request.environments or request.out / "environments")
    return Surroundings(text, python, () if python else barred_by(parse(text)))
