"""Fetch a package from an OCI registry and register it, as it was signed where it was built.

reference --> manifest --> signature (whose key? refused before anything large is fetched) --> files --> keep --> events

The registry is not trusted with anything: what is kept is what a key signed that this home's chain trusts.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from penstock.access.identities import require
from penstock.access.permissions import ADMIN, PACKAGE
from penstock.app.app import App
from penstock.app.keys import adopt_signature, trust_key
from penstock.app.registering import register_version
from penstock.app.transferring import Step, TransferPace, Transferred, open_repository, record_transfer
from penstock.errors import InvalidInput, NotReady, Untrusted
from penstock.packages.digests import hex_of
from penstock.packages.keyring import Signers
from penstock.packages.manifest import MANIFEST, MAX_MANIFEST_BYTES, SIGNATURE, parse_manifest
from penstock.packages.publickey import load_public_key
from penstock.packages.read import open_package
from penstock.packages.signature import MAX_SIGNATURE_BYTES, UNKNOWN_SIGNER, signed_digests
from penstock.packages.tree import read_bytes
from penstock.records import Version
from penstock.registry.modelpack import Layer, ModelPack, unpack
from penstock.registry.oci import OciRepository
from penstock.registry.oci_reference import LATEST, parse_reference
from penstock.registry.trust import keep_package, package_keys

_CHANGED = "do not use it; ask whoever pushed it"


class _Wanted(NamedTuple):
    """What is fetched, from where, by whose word."""

    repository: OciRepository
    artifact: ModelPack
    keys: Signers
    on_step: Step


def pull(
    app: App,
    source: str,
    *,
    trust: Path | None = None,
    plain_http: bool = False,
    dry_run: bool = False,
    on_step: Step = lambda step: None,
) -> Transferred:
    """Register a package of a registry as the next version of its model; one that is here already stays what it is.

    Args:
        app: Who pulls, to where.
        source: ``oci://HOST/REPOSITORY[:TAG|@sha256:HEX]``; the tag is ``latest`` where none is named.
        trust: A signer's public key (PEM); this home trusts it from now on, if the package bears its signature.
        plain_http: Speak HTTP without TLS to hosts other than this machine.
        dry_run: Fetch manifest and signature, judge them, keep nothing.
        on_step: Told how far it is.

    Raises:
        NotFound: The registry has no such artifact.
        Untrusted: A digest, size or name does not hold, or no trusted key signed it.
        Forbidden: The registry does not let us, or only an administrator may trust a key.
        NotReady: It is not there, or not now.
        Conflict: Somebody else registered a version meanwhile.
    """
    require(app.identity, PACKAGE)
    keys = package_keys(app.state())
    if trust is not None:
        require(app.identity, ADMIN)
        keys = Signers((*keys, load_public_key(trust)), keys.revoked)
    reference = parse_reference(source)
    if reference.tag and reference.digest:
        raise InvalidInput("a tag and a digest name two things", "leave the tag out", where="tag", code="oci.reference")
    if not reference.digest:
        reference = reference._replace(tag=reference.tag or LATEST)
    repository = open_repository(reference, app.home, scope="pull", plain_http=plain_http)
    on_step("looking at what is there")
    artifact = unpack(repository.get_manifest(reference.pinned))
    wanted = _Wanted(repository, artifact, keys, on_step)
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
        folder = Path(scratch) / "package"
        folder.mkdir()
        digest, model = _judged(wanted, folder)
        known = _known(app, model, digest)
        moved: list[Layer] = []
        if known is None and not dry_run:
            moved = _fetch(wanted, folder)
            open_package(folder, keys=keys, digest=digest)
            if trust is not None:
                trust_key(app, trust)
            on_step("keeping and registering it")
            known = register_version(app, keep_package(folder, app.registry.packages, app.state()))
        elif known is None:
            moved = list(artifact.layers)
        elif not dry_run:
            if trust is not None:
                trust_key(app, trust)
            if adopt_signature(app, known, read_bytes(folder, SIGNATURE, limit=MAX_SIGNATURE_BYTES)):
                on_step("taking its new signature")
    news = bool(moved)
    if known is not None and not dry_run:
        record_transfer(app, "package.pulled", known, str(reference._replace(digest="")), artifact.digest)
    return Transferred(
        ref=known.ref if known else "",
        digest=digest,
        place=str(reference),
        artifact=artifact.digest,
        files=len(artifact.layers),
        moved=len(moved),
        moved_bytes=sum(layer.size for layer in moved),
        news=news,
    )


def _judged(wanted: _Wanted, folder: Path) -> tuple[str, str]:
    """The package's digest and its model's name, once a trusted key vouches for every file that the artifact names."""
    artifact = wanted.artifact
    found = {layer.name: layer for layer in artifact.layers}
    for name, limit in ((MANIFEST, MAX_MANIFEST_BYTES), (SIGNATURE, MAX_SIGNATURE_BYTES)):
        layer = found[name]
        if layer.size > limit:
            raise Untrusted(f"the file is longer than {limit} bytes", _CHANGED, where=name)
        wanted.repository.get_blob(layer.digest, layer.size, folder / name)
    signed = _signed(folder, wanted.keys)
    for name in sorted(signed.keys() | found.keys() - {SIGNATURE}):
        if name not in found or name not in signed or hex_of(found[name].digest) != signed[name]:
            raise Untrusted("a file of the artifact is not what was signed", _CHANGED, where=name)
    digest = found[MANIFEST].digest
    if artifact.package not in ("", digest):
        raise Untrusted("the artifact claims to be another package than it holds", _CHANGED, where="manifest")
    return digest, parse_manifest(read_bytes(folder, MANIFEST, limit=MAX_MANIFEST_BYTES)).name


def _signed(folder: Path, keys: Signers) -> dict[str, str]:
    """Hex digest by name, of what a trusted key signed."""
    try:
        return signed_digests(read_bytes(folder, SIGNATURE, limit=MAX_SIGNATURE_BYTES), keys)
    except Untrusted as error:
        if error.code != UNKNOWN_SIGNER:
            raise
        raise Untrusted(
            error.message,
            "get the signer's keys/package.pub another way than from this registry, then add --trust package.pub",
            code=error.code,
            where=error.where,
        ) from error


def _fetch(wanted: _Wanted, folder: Path) -> list[Layer]:
    """The other files, and the configuration, which nothing here reads but which must be what it says."""
    artifact = wanted.artifact
    if shutil.disk_usage(folder).free < 2 * artifact.size:
        raise NotReady("there is not enough space for the package", "make some, twice its size", code="oci.space")
    for number, layer in enumerate(artifact.layers, 1):
        if layer.name in (MANIFEST, SIGNATURE):
            continue
        what = f"file {number} of {len(artifact.layers)}, {layer.name}"
        wanted.on_step(what)
        place = folder / layer.name
        place.parent.mkdir(parents=True, exist_ok=True)
        wanted.repository.get_blob(layer.digest, layer.size, place, TransferPace(wanted.on_step, what, layer.size))
    with tempfile.TemporaryDirectory(prefix="penstock-") as scratch:
        wanted.repository.get_blob(artifact.config_digest, artifact.config_size, Path(scratch) / "config.json")
    return list(artifact.layers)


def _known(app: App, model: str, digest: str) -> Version | None:
    """The version of that package that is registered here."""
    found = app.state().models.get(model)
    return next((one.version for one in found.versions if one.version.digest == digest), None) if found else None
