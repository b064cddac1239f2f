"""Sign a package: write the bundle that `penstock.packages.signature` and OpenSSF's ``model_signing`` accept.

What comes in: a finished folder and the package key. What goes out: the folder with its signature, over
``manifest.json`` and every file that the manifest lists.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import msgspec

from penstock.packages.keys import PrivateKey
from penstock.packages.manifest import SIGNATURE
from penstock.packages.signature import (
    MEDIA_TYPE,
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    Bundle,
    DsseSignature,
    Envelope,
    KeyHint,
    Material,
    Predicate,
    Resource,
    Serialization,
    Statement,
    Subject,
    pae,
    root_digest,
)
from penstock.packages.tree import scan, sha256_of


def sign_folder(folder: Path, key: PrivateKey) -> None:
    """Sign everything that lies in a folder, and write the signature into it.

    Raises:
        Untrusted: The folder holds a link or a name that no package may hold.
    """
    digests = {name: sha256_of(folder, name) for name in scan(folder) if name != SIGNATURE}
    (folder / SIGNATURE).write_bytes(bundle_of(digests, key, name=folder.name))


def bundle_of(digests: Mapping[str, str], key: PrivateKey, *, name: str) -> bytes:
    """The bundle's bytes over hex SHA-256 digests by file name; `name` only informs."""
    payload = msgspec.json.encode(_statement(digests, name))
    signature = key.sign(pae(payload))
    bundle = Bundle(
        media_type=MEDIA_TYPE,
        verification_material=Material(public_key=KeyHint(hint=key.public_key().hint)),
        dsse_envelope=Envelope(
            payload=base64.b64encode(payload).decode(),
            payload_type=PAYLOAD_TYPE,
            signatures=(DsseSignature(sig=base64.b64encode(signature).decode()),),
        ),
    )
    return msgspec.json.encode(bundle)


def _statement(digests: Mapping[str, str], name: str) -> Statement:
    """The in-toto statement; files in the order of their path's parts, as the reference has it."""
    resources = tuple(
        Resource(name=one, algorithm="sha256", digest=digests[one]) for one in sorted(digests, key=PurePosixPath)
    )
    return Statement(
        type=STATEMENT_TYPE,
        predicate_type=PREDICATE_TYPE,
        subject=(Subject(name=name, digest={"sha256": root_digest(resources)}),),
        predicate=Predicate(
            serialization=Serialization(method="files", hash_type="sha256", allow_symlinks=False), resources=resources
        ),
    )
