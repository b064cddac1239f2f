"""The signature of a package: an OpenSSF model-signing bundle, verified with Python alone.

    signature.json = Sigstore bundle { hint of the public key, DSSE envelope { in-toto statement, ECDSA } }
    statement.predicate.resources = [ { name, algorithm: sha256, digest } for manifest.json and every file ]

What comes in: the bundle's bytes and the public keys that are trusted. What goes out: the digests that were
signed, by file name. ``model_signing`` (the reference implementation) reads and writes the same form; the
tests let each judge the other. Sources: in-toto Statement v1, DSSE v1.0 protocol, Sigstore bundle v0.3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from penstock.errors import Untrusted
from penstock.packages.keyring import Signers
from penstock.packages.manifest import SIGNATURE
from penstock.packages.publickey import VerifyingKey
from penstock.packages.tree import read_bytes, scan, sha256_of

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_SIGNATURE_BYTES = 8 << 20
UNKNOWN_SIGNER = "packages.unknown_signer"
REVOKED_SIGNER = "packages.revoked_signer"

T = TypeVar("T")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a bundle may hold, and nothing else."""


class KeyHint(_Strict, frozen=True, kw_only=True):
    """SHA-256 of the signer's public key."""

    hint: str


class Material(_Strict, frozen=True, kw_only=True):
    """What names the signer; plain keys leave no entry in a transparency log."""

    public_key: KeyHint
    tlog_entries: tuple[()] = ()


class DsseSignature(_Strict, frozen=True, kw_only=True):
    """One signature over the envelope's payload, base64."""

    sig: str
    keyid: str = ""


class Envelope(_Strict, frozen=True, kw_only=True):
    """The signed payload, base64."""

    payload: str
    payload_type: str
    signatures: tuple[DsseSignature, ...]


class Bundle(_Strict, frozen=True, kw_only=True):
    """``signature.json``."""

    media_type: str
    verification_material: Material
    dsse_envelope: Envelope


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One signed file."""

    name: str
    algorithm: str
    digest: str


class Serialization(msgspec.Struct, frozen=True, kw_only=True):
    """How files became digests."""

    method: str
    hash_type: str
    allow_symlinks: bool = False


class Predicate(msgspec.Struct, frozen=True, kw_only=True):
    """The files."""

    serialization: Serialization
    resources: tuple[Resource, ...]


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The whole: SHA-256 over the digests of the files, in their order."""

    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The in-toto statement inside the envelope."""

    type: str = msgspec.field(name="_type")
    predicate_type: str = msgspec.field(name="predicateType")
    subject: tuple[Subject, ...]
    predicate: Predicate


def verify(folder: Path, keys: Sequence[VerifyingKey]) -> None:
    """Check that one of the keys signed exactly what lies in a folder.

    Raises:
        Untrusted: It did not; `where` names the file that differs.
    """
    signed = signed_digests(read_bytes(folder, SIGNATURE, limit=MAX_SIGNATURE_BYTES), keys)
    present = scan(folder).keys() - {SIGNATURE}
    for name in sorted(present | signed.keys()):
        if name not in signed or name not in present or sha256_of(folder, name) != signed[name]:
            raise Untrusted("a file is not what was signed", "fetch the package again", where=name)


def signed_digests(data: bytes, keys: Sequence[VerifyingKey]) -> dict[str, str]:
    """What a bundle vouches for: hex SHA-256 by file name.

    Raises:
        Untrusted: The bundle is damaged, of another kind, or not by one of `keys`.
    """
    bundle = _parsed(data, Bundle)
    envelope = bundle.dsse_envelope
    if (
        bundle.media_type != MEDIA_TYPE
        or envelope.payload_type != PAYLOAD_TYPE
        or [one.keyid for one in envelope.signatures] != [""]
    ):
        raise _refusal("is no model-signing bundle of a plain key")
    key = _signer(bundle.verification_material.public_key.hint, keys)
    payload = _unbase64(envelope.payload)
    signature = _unbase64(envelope.signatures[0].sig)
    if not key.verify(pae(payload), signature):
        raise _refusal("does not hold: the package or the signature was changed")
    return _digests(_parsed(payload, Statement))


def claimed_signer(data: bytes) -> str:
    """The hint of the key that a bundle names; whether that key signed it is `signed_digests`'s question.

    Raises:
        Untrusted: The bundle is damaged, or of another kind.
    """
    return _parsed(data, Bundle).verification_material.public_key.hint


def pae(payload: bytes) -> bytes:
    """What DSSE signs: type and length in front of the payload (pre-authentication encoding)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def root_digest(resources: Sequence[Resource]) -> str:
    """Hex SHA-256 over the files' digests, in their order."""
    whole = hashlib.sha256()
    for one in resources:
        whole.update(bytes.fromhex(one.digest))
    return whole.hexdigest()


def _digests(statement: Statement) -> dict[str, str]:
    """Digests by name, of a statement of the only form that is taken."""
    predicate = statement.predicate
    digests = {one.name: one.digest for one in predicate.resources}
    shape = (
        statement.type == STATEMENT_TYPE
        and statement.predicate_type == PREDICATE_TYPE
        and predicate.serialization.method == "files"
        and not predicate.serialization.allow_symlinks
        and all(one.algorithm == "sha256" for one in predicate.resources)
        and len(digests) == len(predicate.resources)
        and len(statement.subject) == 1
    )
    if not shape:
        raise _refusal("signs in a form that is not taken: SHA-256 of whole files, no links")
    try:
        whole = root_digest(predicate.resources)
    except ValueError as error:
        raise _refusal("holds a digest that is none") from error
    if statement.subject[0].digest.get("sha256") != whole:
        raise _refusal("contradicts itself")
    return digests


def _signer(hint: str, keys: Sequence[VerifyingKey]) -> VerifyingKey:
    """The trusted key that the bundle names."""
    for key in keys:
        if key.hint == hint:
            return key
    gone = keys.revoked.get(hint) if isinstance(keys, Signers) else None
    if gone is not None:
        raise Untrusted(
            f"the package is signed by a key that was revoked: {gone.reason}",
            "if its bytes are good, an administrator signs it anew with `penstock key resign`",
            code=REVOKED_SIGNER,
            where=SIGNATURE,
        )
    raise Untrusted(
        "the package is signed by a key that is not trusted here",
        "add the signer's package.pub",
        code=UNKNOWN_SIGNER,
        where=SIGNATURE,
    )


def _parsed(data: bytes, kind: type[T]) -> T:
    """A record of the bundle."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal("is damaged or no model-signing bundle of a plain key") from error


def _unbase64(text: str) -> bytes:
    """Bytes of canonical base64: no second spelling of the same signature."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _refusal("is damaged") from error
    if base64.b64encode(data).decode() != text:
        raise _refusal("is damaged")
    return data


def _refusal(what: str) -> Untrusted:
    """The refusal, naming the file."""
    return Untrusted(f"the signature {what}", "fetch the package again or have it signed anew", where=SIGNATURE)
