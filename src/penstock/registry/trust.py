"""Packages that the chain vouches for: the keys it trusts, and the one way into the home's packages."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from penstock.errors import Corrupt, Untrusted
from penstock.packages.digests import hex_of
from penstock.packages.keyring import Signers
from penstock.packages.manifest import MANIFEST, SIGNATURE
from penstock.packages.publickey import VerifyingKey, read_public
from penstock.packages.read import Package, open_package
from penstock.packages.signature import MAX_SIGNATURE_BYTES, claimed_signer, signed_digests
from penstock.packages.tree import read_bytes
from penstock.registry.blobs import Blobs
from penstock.registry.bootstrap import PACKAGES
from penstock.registry.state import State


def package_keys(state: State) -> Signers:
    """The public keys that may have signed packages, as the chain names them.

    Raises:
        Corrupt: One of them is no elliptic-curve key in PEM.
    """
    return Signers((read_package_key(record.pem) for record in state.keys.get(PACKAGES, ())), state.revoked)


def signing_keys(state: State) -> Signers:
    """Those whose word counts for a package that is not here yet: of the home's own, the one that signs now.

    Raises:
        Corrupt: One of them is no elliptic-curve key in PEM.
    """
    records = (one for one in state.keys.get(PACKAGES, ()) if not one.own or one.hint == state.signer(PACKAGES))
    return Signers((read_package_key(record.pem) for record in records), state.revoked)


def keep_package(folder: Path, blobs: Blobs, state: State) -> Package:
    """Verify a package, copy it under its digest, verify the copy, and open that.

    Raises:
        Untrusted: It is not whole, or not signed by a key that may sign what is new here.
        OSError: No space, no right, a failing disk; nothing is left behind.
    """
    keys = signing_keys(state)
    package = open_package(folder, keys=keys)
    place = blobs.put_folder(folder, package.digest, check=partial(open_package, keys=keys, digest=package.digest))
    return open_package(place, keys=keys, digest=package.digest)


def require_trusted(place: Path, digest: str, state: State) -> None:
    """See that a key that is trusted now signed the package of a digest; its other files are not read.

    Raises:
        Untrusted: None did: it was revoked or removed, or the signature is not what it was.
    """
    signed = signed_digests(read_bytes(place, SIGNATURE, limit=MAX_SIGNATURE_BYTES), package_keys(state))
    if signed.get(MANIFEST) != hex_of(digest):
        raise Untrusted("the manifest is not what was signed", "fetch the package again", where=MANIFEST)


def claims_trusted(place: Path, state: State) -> bool:
    """Whether the key that a package's signature names is trusted now; a quick look, and no proof."""
    hints = {record.hint for record in state.keys.get(PACKAGES, ())}
    try:
        return claimed_signer(read_bytes(place, SIGNATURE, limit=MAX_SIGNATURE_BYTES)) in hints
    except Untrusted:
        return False


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


def read_package_key(pem: str) -> VerifyingKey:
    """A key as the chain names it.

    Raises:
        Corrupt: It is none.
    """
    try:
        return read_public(pem.encode())
    except ValueError as error:
        raise Corrupt("a package key in the chain is no elliptic-curve key", "run `penstock verify`") from error
