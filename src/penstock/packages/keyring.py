"""The public keys that are trusted, as a file that others may replace while one reads.

trusted.pub (PEM after PEM) -> KeyRing -> penstock.packages.read.open_package
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from penstock.errors import BadConfig
from penstock.packages.publickey import VerifyingKey, read_public

TRUSTED = "trusted.pub"
"""In a home's ``keys`` folder: every key that its chain trusts with packages, the home's own among them."""
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class KeyRing(Sequence[VerifyingKey]):
    """The keys of a PEM file, one or several; looked at again where the file was replaced.

    Args:
        path: The file.

    Raises:
        BadConfig: It is not there, or holds something that is no elliptic-curve public key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[VerifyingKey, ...] = ()
        self._now()

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

    def _now(self) -> tuple[VerifyingKey, ...]:
        """The keys of the file as it is."""
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._keys = tuple(read_public(block) for block in _BLOCK.findall(self._path.read_bytes()))
                self._seen = seen
        except (ValueError, OSError) as error:
            raise self._bad() from error
        if not self._keys:
            raise self._bad()
        return self._keys

    def _bad(self) -> BadConfig:
        return BadConfig(
            f"{self._path.name} is no elliptic-curve public key in PEM form", "give the package.pub of the signer"
        )
