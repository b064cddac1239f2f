"""The data plane as it is this moment: asked of the target itself, so that what died is not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from penstock.adapters import load
from penstock.release.target import Target, TargetStatus


def look(home: Path) -> TargetStatus:
    """What runs for a home on this machine, whether or not a control plane does."""
    made = cast("Callable[[Path], Target]", load("target", "local"))
    return made(home).observe()
