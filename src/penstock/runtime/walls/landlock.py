"""Wall 2: which files this process may open (Landlock, kernel 5.13; network from 6.7, scopes from 6.12).

Reads only below the paths it is given, writes only below the scratch folder, nothing executed. Landlock does
not cover change of mode, owner, times and attributes: the seccomp wall and the read-only mounts do.
Source: the kernel's Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from penstock.runtime.walls import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR, _WRITE_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 2, 1 << 3, 1 << 1, 1 << 14, 1 << 15
_FIRST_RIGHTS = (1 << 13) - 1
_REFER = 1 << 13
_TCP_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3
# Rights that make sense on a file; the kernel refuses the others there.
_ON_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV


def version() -> int:
    """The kernel's Landlock version.

    Raises:
        OSError: The kernel has none, or it is switched off.
    """
    return kernel.syscall("landlock", _CREATE_RULESET, None, 0, _VERSION)


def apply(read: Iterable[str], write: Iterable[str]) -> int:
    """Restrict this process and all it starts to these paths, for good.

    Args:
        read: Files and folders that may be read; those that do not exist are passed over.
        write: Files and folders that may be read, written, made and removed.

    Returns:
        The Landlock version: 4 and later also bar TCP, 6 and later signals and abstract sockets.

    Raises:
        OSError: The kernel refused.
    """
    found = version()
    handled = _handled(found)
    fields = [handled, _TCP_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS]
    known = fields[: 1 if found < 4 else 2 if found < 6 else 3]
    attributes = ctypes.create_string_buffer(b"".join(field.to_bytes(8, "little") for field in known), 8 * len(known))
    ruleset = kernel.syscall("landlock_create_ruleset", _CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in read:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in write:
            _allow(ruleset, path, handled & ~1)  # bit 0: execute
        kernel.syscall("landlock_restrict_self", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return found


def _handled(found: int) -> int:
    """The file rights that this version of Landlock knows."""
    rights = _FIRST_RIGHTS
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        rights |= right if found >= since else 0
    return rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Add one path to the ruleset."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _ON_FILES
        rule = rights.to_bytes(8, "little") + place.to_bytes(4, "little")
        kernel.syscall("landlock_add_rule", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.create_string_buffer(rule, 12), 0)
    finally:
        os.close(place)
