"""Penstock takes a trained model into production and keeps it right there.

The public names, resolved on first use, nothing else.
"""

from __future__ import annotations

import os
from importlib import import_module

__version__ = "0.1.0"

_NAMES = {
    "package": "penstock.notebook",
    "model": "penstock.notebook",
    "endpoint": "penstock.notebook",
    "PenstockError": "penstock.errors",
}

# ONNX Runtime 1.29 and later sends events about models and machine to its maker from a thread of its own, unless told
# not to before it is first imported. Nothing leaves this machine unless somebody says so.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["PenstockError", "__version__", "endpoint", "model", "package"]


def __getattr__(name: str) -> object:
    """Load the module behind a public name when it is first asked for."""
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")
