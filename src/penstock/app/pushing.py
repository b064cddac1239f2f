"""Send a version's package to an OCI registry.

name@3 --home--> package, verified --pack--> artifact --> blobs that are missing there, then the manifest, then an event
"""

from __future__ import annotations

from pathlib import Path

from penstock.access.identities import require
from penstock.access.permissions import PACKAGE
from penstock.app.app import App
from penstock.app.transferring import Step, TransferPace, Transferred, open_repository, record_transfer
from penstock.errors import Conflict, InvalidInput
from penstock.registry.modelpack import Layer, ModelPack, pack
from penstock.registry.oci import OciRepository, blob_of_bytes, blob_of_file
from penstock.registry.oci_reference import OciReference, parse_reference


def push(
    app: App,
    ref: str,
    to: str,
    *,
    plain_http: bool = False,
    replace: bool = False,
    dry_run: bool = False,
    on_step: Step = lambda step: None,
) -> Transferred:
    """Have a version's package in a registry, under a tag.

    Args:
        app: Who pushes, from where.
        ref: ``name@3``, ``name@champion`` or ``name``.
        to: ``oci://HOST/REPOSITORY[:TAG]``; the tag is the version's number where none is named.
        plain_http: Speak HTTP without TLS to hosts other than this machine.
        replace: Let the tag name this version from now on, where it names another artifact.
        dry_run: Look at everything and send nothing.
        on_step: Told how far it is.

    Raises:
        NotFound: There is no such version.
        Conflict: The tag names another artifact already.
        Forbidden: The registry does not know us, or does not let us.
        NotReady: It is not there, or not now; what arrived is not sent again next time.
        Untrusted: The package is not as it was registered and signed, or the registry does what it must not.
    """
    require(app.identity, PACKAGE)
    named = parse_reference(to)
    if named.digest:
        raise InvalidInput("a push goes to a tag: the digest follows from what is pushed", "leave @sha256:... out")
    version = app.resolve(ref).version
    artifact = pack(app.open_package(version.digest), version.version)
    target = named._replace(tag=named.tag or str(version.version))
    repository = open_repository(target, app.home, scope="pull,push", plain_http=plain_http)
    on_step("looking at what is there")
    there = repository.digest_of(target.tag)
    if there not in ("", artifact.digest) and not replace:
        raise Conflict(
            "the tag names another artifact in that registry", "name another tag, or say --replace", code="oci.tag"
        )
    folder = app.registry.packages.path(version.digest)
    if there == artifact.digest:
        moved: list[Layer] = []
    elif dry_run:
        moved = [layer for layer in artifact.layers if not repository.has_blob(layer.digest)]
    else:
        moved = _send(repository, artifact, folder, target, on_step)
    if not dry_run:
        record_transfer(app, "package.pushed", version, str(target), artifact.digest)
    return Transferred(
        ref=version.ref,
        digest=version.digest,
        place=str(target),
        artifact=artifact.digest,
        files=len(artifact.layers),
        moved=len(moved),
        moved_bytes=sum(layer.size for layer in moved),
        news=there != artifact.digest,
    )


def _send(
    repository: OciRepository, artifact: ModelPack, folder: Path, target: OciReference, on_step: Step
) -> list[Layer]:
    """Every blob, then the manifest that names them; gives those that were not there."""
    moved = []
    for number, layer in enumerate(artifact.layers, 1):
        what = f"file {number} of {len(artifact.layers)}, {layer.name}"
        on_step(what)
        blob = blob_of_file(folder / layer.name, layer.digest, layer.size)
        if repository.put_blob(blob, TransferPace(on_step, what, layer.size)):
            moved.append(layer)
    repository.put_blob(blob_of_bytes(artifact.config))
    on_step("naming it")
    repository.put_manifest(target.tag, artifact.manifest)
    return moved
