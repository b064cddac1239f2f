"""The key that signs packages: ECDSA on P-256, because that is what OpenSSF model signing verifies.

What comes in: the home's ``keys`` folder. What goes out: a private key for `penstock.build.sign`. Its public half
(`penstock.packages.publickey`) is all that a reader needs. The event chain has its own Ed25519 key (`penstock.access`).
"""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.access.files import locked, make_folder, remove_leftovers, sync_folder, write_whole
from penstock.access.keys import LOCK_FILE
from penstock.errors import BadConfig
from penstock.packages.publickey import PUBLIC, VerifyingKey, read_public

PRIVATE = "package.key"
NEXT = "package.next"
"""A new private key until the chain names it."""
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


class PrivateKey:
    """Signs; never leaves the machine that made it.

    Args:
        key: On one of the format's three curves.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, DER."""
        return self._key.sign(data, ec.ECDSA(_HASHES[self._key.curve.name]))

    def public_key(self) -> VerifyingKey:
        """The half that verifies."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return read_public(self._key.public_key().public_bytes(serialization.Encoding.PEM, form))

    def pem(self) -> bytes:
        """The key in PEM form (PKCS8), not encrypted: the folder's rights keep it."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def new_package_key() -> PrivateKey:
    """A fresh P-256 key."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def load_or_create_package_key(folder: Path) -> PrivateKey:
    """The home's package-signing key: ``package.key`` (0600) and ``package.pub`` (0644), made at first use.

    Safe to be killed at any point and to be called by many processes at once.

    Raises:
        BadConfig: The file holds something else.
    """
    make_folder(folder)
    # The folder's lock is that of all keys in it: whoever holds it may remove what a killed writer left.
    with locked(folder / LOCK_FILE):
        remove_leftovers(folder)
        if not (folder / PRIVATE).exists():
            write_whole(folder / PRIVATE, new_package_key().pem(), mode=0o600)
        key = _read_private(folder / PRIVATE)
        if not (folder / PUBLIC).exists():
            write_whole(folder / PUBLIC, key.public_key().pem, mode=0o644)
    return key


def make_next_key(folder: Path) -> PrivateKey:
    """A new key beside the one that signs; `take_next_key` puts it in its place. One that lies there goes."""
    with locked(folder / LOCK_FILE):
        key = new_package_key()
        write_whole(folder / NEXT, key.pem(), mode=0o600)
    return key


def take_next_key(folder: Path, trusted: Container[str]) -> bool:
    """Let the new key sign from now on, where the chain names it; else it goes, for nobody will believe it.

    The old private key goes with that. Safe to be killed at any point: it is done again when the home is opened.

    Args:
        folder: The home's ``keys``.
        trusted: Hints of the keys that the chain trusts.

    Returns:
        Whether there was one to take.

    Raises:
        BadConfig: The file holds something else.
    """
    with locked(folder / LOCK_FILE):
        if not (folder / NEXT).exists():
            return False
        key = _read_private(folder / NEXT)
        if key.public_key().hint not in trusted:
            (folder / NEXT).unlink()
            return False
        os.rename(folder / NEXT, folder / PRIVATE)
        write_whole(folder / PUBLIC, key.public_key().pem, mode=0o644)
        sync_folder(folder)
    return True


def _read_private(path: Path) -> PrivateKey:
    """The private key in a file."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise BadConfig(f"{PRIVATE} is no elliptic-curve key", "move it away; a new one is made at the next start")
    return PrivateKey(key)
