"""The key that signs packages: ECDSA on P-256, because that is what OpenSSF model signing verifies.

What comes in: the home's ``keys`` folder. What goes out: a private key for `penstock.build.sign`, public keys
for `penstock.packages.signature`. The event chain has its own Ed25519 key (`penstock.access`); a reader who
verifies a package needs nothing but ``package.pub``.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.access.files import locked, make_folder, remove_leftovers, write_whole
from penstock.access.keys import LOCK_FILE
from penstock.errors import BadConfig
from penstock.packages.digests import sha256_bytes

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey

PRIVATE = "package.key"
PUBLIC = "package.pub"
CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})


def new_package_key() -> PrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


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
            write_whole(folder / PRIVATE, _private_pem(new_package_key()), mode=0o600)
        key = _read_private(folder / PRIVATE)
        if not (folder / PUBLIC).exists():
            write_whole(folder / PUBLIC, public_pem(key.public_key()), mode=0o644)
    return key


def load_public_key(path: Path) -> PublicKey:
    """A public key from a PEM file.

    Raises:
        BadConfig: It is none, or of a kind that does not sign packages.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, OSError) as error:
        raise BadConfig(f"{path.name} is no public key in PEM form", "give the package.pub of the signer") from error
    if not isinstance(key, PublicKey) or key.curve.name not in CURVES:
        raise BadConfig(f"{path.name} is no elliptic-curve key", "give the package.pub of the signer")
    return key


def public_pem(key: PublicKey) -> bytes:
    """The key in PEM form (SubjectPublicKeyInfo)."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_hint(key: PublicKey) -> str:
    """Hex SHA-256 of the PEM form: how a bundle names its signer."""
    return sha256_bytes(public_pem(key))


def _private_pem(key: PrivateKey) -> bytes:
    """The key in PEM form (PKCS8), not encrypted: the folder's rights keep it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _read_private(path: Path) -> PrivateKey:
    """The private key in a file."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, PrivateKey) or key.curve.name not in CURVES:
        raise BadConfig(f"{PRIVATE} is no elliptic-curve key", "move it away; a new one is made at the next start")
    return key
