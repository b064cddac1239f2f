"""Stage 4, serve: TorchServe's keys: one for inference, one for management, both renewed by a third.

    write_keys -> key_file.json (0600, in the run folder) --each worker, when it meets a token it does not know--> Grant
    renew (by the API key) -> another key of a kind in the file; the old one is over at once

The file holds the keys themselves, because TorchServe's clients read it: whoever may read the run folder has them. They
are over after an hour, the API key never. Source: TorchServe 0.12, ``docs/token_authorization_api.md``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from penstock.access.files import locked, write_whole
from penstock.access.permissions import LOAD, PREDICT, READ
from penstock.access.tokens import expired, new_token, token_sha256
from penstock.records import Grant

FILE = "key_file.json"
SUBJECT = "torchserve-key"
LIVE_S = 3600.0
API = "API"
RENEW = "renew"
"""What the API key may, and nobody else."""
Kind = Literal["management", "inference"]
_PERMISSIONS = {"management": (READ, LOAD), "inference": (PREDICT,), API: (RENEW,)}


class _Key(msgspec.Struct, omit_defaults=True):
    key: str
    until: str = msgspec.field(name="expiration time", default="")


_Keys = dict[str, _Key]


class TorchKeys:
    """The keys of a run folder, as they are now.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._seen: tuple[int, int, int] | None = None
        self._grants: Mapping[str, Grant] = {}

    def find(self, sha256: str, now: float) -> Grant | None:
        """The grant of a key by the token's digest; None for one that is none, or over."""
        self._look()
        grant = self._grants.get(sha256)
        return None if grant is None or expired(grant.expires_at, now) else grant

    def renew(self, kind: Kind) -> None:
        """Have another key of a kind.

        Raises:
            OSError: The folder cannot be written.
        """
        with locked(self._path.with_suffix(".lock")):
            keys = _read(self._path)
            keys[kind] = _made(time.time())
            _write(self._path, keys)

    def _look(self) -> None:
        """Read the file if it is another one."""
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen != self._seen:
                self._grants = {token_sha256(one.key): _grant(kind, one) for kind, one in _read(self._path).items()}
                self._seen = seen
        except (OSError, ValueError, msgspec.DecodeError):
            self._grants, self._seen = {}, None


def write_keys(run: Path) -> Path:
    """Three fresh keys in a run folder; the path of their file.

    Raises:
        OSError: The folder cannot be written.
    """
    now = time.time()
    run.mkdir(parents=True, exist_ok=True)
    _write(run / FILE, {"management": _made(now), "inference": _made(now), API: _Key(new_token())})
    return run / FILE


def _made(now: float) -> _Key:
    until = datetime.fromtimestamp(now + LIVE_S, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _Key(new_token(), until)


def _read(path: Path) -> _Keys:
    return msgspec.json.decode(path.read_bytes(), type=_Keys)


def _write(path: Path, keys: _Keys) -> None:
    write_whole(path, msgspec.json.format(msgspec.json.encode(keys), indent=2), mode=0o600)


def _grant(kind: str, one: _Key) -> Grant:
    until = datetime.fromisoformat(one.until).timestamp() if one.until else 0.0
    permissions = _PERMISSIONS.get(kind, ())
    return Grant(token_sha256=token_sha256(one.key), subject=SUBJECT, permissions=permissions, expires_at=until)
