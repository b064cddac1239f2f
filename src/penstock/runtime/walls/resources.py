"""Wall 1: how much the sandboxed process may take: memory, processor time, files, file size, no core dump."""

from __future__ import annotations

import resource
from collections.abc import Mapping


def apply(limits: Mapping[str, int], *, own_user: bool) -> None:
    """Set this process's limits, soft and hard, for good.

    Args:
        limits: ``memory_bytes``, ``files``, ``file_bytes``, ``threads``; ``cpu_s`` is 0 for no limit.
        own_user: This process has a user namespace, so that the kernel counts its threads alone.

    Raises:
        OSError: The kernel refused.
        ValueError: A limit is above what this process was given itself.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_AS, limits["memory_bytes"])
    _lower(resource.RLIMIT_DATA, limits["memory_bytes"])  # that of who started it is of his own moment
    _lower(resource.RLIMIT_NOFILE, limits["files"])
    _lower(resource.RLIMIT_FSIZE, limits["file_bytes"])
    if limits["cpu_s"]:
        _lower(resource.RLIMIT_CPU, limits["cpu_s"])
    # Elsewhere the kernel counts every process of the user; seccomp and the keeper hold the line there.
    if own_user:
        _lower(resource.RLIMIT_NPROC, limits["threads"])


def fewer_threads(most: int) -> None:
    """Lower what `apply` allowed of threads, where the kernel counts them; errors as there."""
    if resource.getrlimit(resource.RLIMIT_NPROC)[1] != resource.RLIM_INFINITY:
        _lower(resource.RLIMIT_NPROC, most)


def _lower(which: int, value: int) -> None:
    """Set soft and hard limit, never above the hard limit that is there."""
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))
