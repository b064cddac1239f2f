"""The keys that may sign packages, and those that no longer may, as files that others may replace while one reads.

    trusted.pub (PEM after PEM) --+
    revoked.json, beside it    ---+-> KeyRing -> penstock.packages.read.open_package

Whoever decides writes both; nothing in a package says whom to believe. A key that both name is revoked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import overload

from penstock.errors import BadConfig, Corrupt
from penstock.packages.publickey import VerifyingKey, read_public
from penstock.records import KeyRevoked, decode

TRUSTED = "trusted.pub"
"""In a home's ``keys`` folder: every key that its chain trusts with packages, the home's own among them."""
REVOKED = "revoked.json"
"""Beside it: a list of `KeyRevoked`; without it no key is known to be revoked."""
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_NONE: Mapping[str, KeyRevoked] = MappingProxyType({})


class Signers(Sequence[VerifyingKey]):
    """Keys that may sign packages.

    Args:
        keys: Those that are trusted; one that is revoked is left out.
        revoked: By hint, so that a refusal can say why.
    """

    def __init__(self, keys: Iterable[VerifyingKey] = (), revoked: Mapping[str, KeyRevoked] = _NONE) -> None:
        self._revoked = dict(revoked)
        self._keys = tuple(key for key in keys if key.hint not in self._revoked)

    @overload
    def __getitem__(self, index: int) -> VerifyingKey: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[VerifyingKey, ...]: ...
    def __getitem__(self, index: int | slice) -> VerifyingKey | tuple[VerifyingKey, ...]:
        return self._now()[index]

    def __len__(self) -> int:
        return len(self._now())

    def __iter__(self) -> Iterator[VerifyingKey]:
        return iter(self._now())

    @property
    def revoked(self) -> Mapping[str, KeyRevoked]:
        """Hint -> why that key may not sign."""
        self._now()
        return self._revoked

    def _now(self) -> tuple[VerifyingKey, ...]:
        """The keys at this moment."""
        return self._keys


class KeyRing(Signers):
    """The keys of a PEM file, one or several; looked at again where it, or the list beside it, was replaced.

    Args:
        path: The file.

    Raises:
        BadConfig: It is not there, or holds something that is no elliptic-curve public key, or the list beside it is
            none; so does whoever reads it later.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._seen: tuple[object, ...] = ()
        self._now()

    def _now(self) -> tuple[VerifyingKey, ...]:
        seen = (_stamp(self._path), _stamp(self._path.with_name(REVOKED)))
        if seen != self._seen:
            revoked = _read_revoked(self._path.with_name(REVOKED))
            keys = tuple(key for key in self._read() if key.hint not in revoked)
            self._keys, self._revoked, self._seen = keys, revoked, seen
        return self._keys

    def _read(self) -> tuple[VerifyingKey, ...]:
        try:
            keys = tuple(read_public(block) for block in _BLOCK.findall(self._path.read_bytes()))
        except (ValueError, OSError) as error:
            raise self._bad() from error
        if not keys:
            raise self._bad()
        return keys

    def _bad(self) -> BadConfig:
        return BadConfig(
            f"{self._path.name} is no elliptic-curve public key in PEM form", "give the package.pub of the signer"
        )


def _read_revoked(path: Path) -> dict[str, KeyRevoked]:
    """The list; one that cannot be read may name any key, so nothing is taken then."""
    try:
        return {one.hint: one for one in decode(path.read_bytes(), list[KeyRevoked])}
    except FileNotFoundError:
        return {}
    except (Corrupt, OSError) as error:
        raise BadConfig(f"{path.name} is no list of revoked keys", "run any penstock verb in its home") from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one file of that name from the next; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
