"""The signing key: Ed25519, as PEM files; it signs events and packages, its public half verifies them anywhere.

keys/signing.key   private, 0600, refused when others can read it
keys/signing.pub   public: all that `penstock verify` needs
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from penstock.access.files import locked, make_folder, remove_leftovers, write_whole
from penstock.errors import Corrupt, NotFound, Untrusted

PRIVATE_FILE = "signing.key"
PUBLIC_FILE = "signing.pub"
LOCK_FILE = "lock"
"""Held by whoever writes into the keys folder."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LIMIT_BYTES = 4096


class PublicKey:
    """Verifies; harmless to hand out."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether `signature` (hex) is this key's over `data`; text that is no signature is a plain no."""
        try:
            raw = bytes.fromhex(signature)
            self._key.verify(raw, data)
        except (InvalidSignature, ValueError):
            return False
        # One signature has one spelling: capitals or spaces would be bytes that changed unseen.
        return raw.hex() == signature

    def pem(self) -> bytes:
        """As a PEM file holds it."""
        return self._key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the raw public key, in hex: the key's name."""
        raw = self._key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return hashlib.sha256(raw).hexdigest()


class SigningKey:
    """Signs; never leaves the machine that made it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> str:
        """The signature over `data`, in hex."""
        return self._key.sign(data).hex()

    def public(self) -> PublicKey:
        """The half that verifies."""
        return PublicKey(self._key.public_key())

    def pem(self) -> bytes:
        """As the private PEM file holds it."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def load_or_create(folder: Path) -> SigningKey:
    """The signing key of a folder; made, with the folder, when there is none.

    Safe to be killed at any point and to be called by many processes at once.

    Raises:
        Untrusted: Others may read the private key, it is no regular file, or the public file is another key's.
        Corrupt: A file is no Ed25519 key in PEM.
    """
    make_folder(folder)
    private = folder / PRIVATE_FILE
    with locked(folder / LOCK_FILE):
        remove_leftovers(folder)
        if not private.exists() and not private.is_symlink():
            write_whole(private, SigningKey(Ed25519PrivateKey.generate()).pem(), mode=0o600)
        key = read_private(private)
        public = folder / PUBLIC_FILE
        if not public.exists():
            write_whole(public, key.public().pem(), mode=0o644)
    if read_public(public).fingerprint != key.public().fingerprint:
        raise Untrusted(
            f"{PUBLIC_FILE} is not the public half of {PRIVATE_FILE}", f"remove {PUBLIC_FILE} to have it made again"
        )
    return key


def read_private(path: Path) -> SigningKey:
    """Read a private key that only its owner can read.

    Raises:
        NotFound: There is no such file.
        Untrusted: Others may read it, or it is no regular file.
        Corrupt: It is no Ed25519 key in PEM.
    """
    data = _read(path, private=True)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise Corrupt(f"{path.name} is no private key", "restore it from a backup", code="access.key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Corrupt(f"{path.name} is no Ed25519 key", "restore it from a backup", code="access.key")
    return SigningKey(key)


def read_public(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        NotFound: There is no such file.
        Corrupt: It is no Ed25519 key in PEM.
    """
    try:
        key = serialization.load_pem_public_key(_read(path, private=False))
    except ValueError as error:
        raise Corrupt(f"{path.name} is no public key", "restore it from a copy", code="access.key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise Corrupt(f"{path.name} is no Ed25519 key", "restore it from a copy", code="access.key")
    return PublicKey(key)


def _read(path: Path, *, private: bool) -> bytes:
    """The bytes of a key file, judged by the descriptor that was opened, not by a name that may change."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if private else 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no key file {path.name}", "name the folder that holds it", code="access.key"
        ) from error
    except OSError as error:
        raise Untrusted(f"{path.name} cannot be opened as a plain file", "put the key itself there") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise Untrusted(f"{path.name} is no regular file", "put the key itself there, not a link or a device")
        if private and about.st_mode & _OTHERS:
            raise Untrusted(f"others may read {path.name}", f"chmod 600 {path.name}; if they did, make a new key")
        return os.read(descriptor, _LIMIT_BYTES)
    finally:
        os.close(descriptor)
