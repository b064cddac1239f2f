"""The key that signs packages: ECDSA on P-256, because that is what OpenSSF model signing verifies.

What comes in: the home's ``keys`` folder. What goes out: a private key for `penstock.build.sign`. Its public half
(`penstock.packages.publickey`) is all that a reader needs. The event chain has its own Ed25519 key (`penstock.access`).
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.access.files import locked, make_folder, remove_leftovers, write_whole
from penstock.access.keys import LOCK_FILE
from penstock.errors import BadConfig
from penstock.packages.publickey import PUBLIC, VerifyingKey, read_public

PRIVATE = "package.key"
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


def _read_private(path: Path) -> PrivateKey:
    """The private key in a file."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise BadConfig(f"{PRIVATE} is no elliptic-curve key", "move it away; a new one is made at the next start")
    return PrivateKey(key)
