"""Memory that a library gave back to the allocator goes back to the system, once a model has been loaded.

A loader that builds a document of its file first, as XGBoost's does, frees many small pieces; glibc keeps those for
later, and a served model would hold several times its size for ever.
"""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Hand freed memory back; nothing where the allocator has no such call."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(ctypes.c_size_t(0))
