"""Packages that the chain vouches for: the keys it trusts, and the one way into the home's packages."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from penstock.errors import Corrupt, Untrusted
from penstock.packages.manifest import SIGNATURE
from penstock.packages.publickey import VerifyingKey, read_public
from penstock.packages.read import Package, open_package
from penstock.packages.signature import MAX_SIGNATURE_BYTES, signed_digests
from penstock.packages.tree import read_bytes
from penstock.registry.blobs import Blobs
from penstock.registry.bootstrap import PACKAGES
from penstock.registry.state import State


def package_keys(state: State) -> tuple[VerifyingKey, ...]:
    """The public keys that may sign packages, as the chain names them.

    Raises:
        Corrupt: One of them is no elliptic-curve key in PEM.
    """
    return tuple(_read(record.pem) for record in state.keys.get(PACKAGES, ()))


def keep_package(folder: Path, blobs: Blobs, state: State) -> Package:
    """Verify a package, copy it under its digest, verify the copy, and open that.

    Raises:
        Untrusted: It is not whole, or not signed by a key that the chain trusts.
        OSError: No space, no right, a failing disk; nothing is left behind.
    """
    keys = package_keys(state)
    package = open_package(folder, keys=keys)
    place = blobs.put_folder(folder, package.digest, check=partial(open_package, keys=keys, digest=package.digest))
    return open_package(place, keys=keys, digest=package.digest)


def signer_of(package: Package, state: State) -> VerifyingKey:
    """Which of the keys that the chain trusts signed a package.

    Raises:
        Untrusted: None of them.
    """
    signature = read_bytes(package.folder, SIGNATURE, limit=MAX_SIGNATURE_BYTES)
    keys = package_keys(state)
    signed_digests(signature, keys)
    return next(key for key in keys if _signed_by(signature, key))


def _signed_by(signature: bytes, key: VerifyingKey) -> bool:
    try:
        return bool(signed_digests(signature, [key]))
    except Untrusted:
        return False


def _read(pem: str) -> VerifyingKey:
    try:
        return read_public(pem.encode())
    except ValueError as error:
        raise Corrupt("a package key in the chain is no elliptic-curve key", "run `penstock verify`") from error
