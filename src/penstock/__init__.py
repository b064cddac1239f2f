"""Penstock takes a trained model into production and keeps it right there.

The public names, resolved on first use, nothing else.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "package": "penstock.notebook",
    "model": "penstock.notebook",
    "endpoint": "penstock.notebook",
    "PenstockError": "penstock.errors",
}

__all__ = ["PenstockError", "__version__", "endpoint", "model", "package"]


def __getattr__(name: str) -> object:
    """Load the module behind a public name when it is first asked for."""
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")
