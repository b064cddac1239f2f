"""Write a finished package down as its model's next version: what packaging and compressing end with."""

from __future__ import annotations

from penstock.app.app import App
from penstock.packages.read import Package, open_package
from penstock.records import Version
from penstock.registry.trust import signing_keys


def register_package(app: App, built: Package) -> Version:
    """Keep the folder, then write the events: first its data's, then the version's.

    Raises:
        Conflict: Somebody else registered a version meanwhile.
    """
    manifest = built.manifest
    keys = signing_keys(app.state())
    app.registry.packages.put_folder(
        built.folder, built.digest, check=lambda copy: open_package(copy, digest=built.digest, keys=keys)
    )
    state = app.state()
    for dataset in manifest.datasets:
        if not any(known.digest == dataset.digest for known in state.datasets.get(dataset.name, ())):
            app.registry.append("dataset.registered", f"dataset/{dataset.name}", dataset, by=app.identity)
    return register_version(app, built)


def register_version(app: App, built: Package) -> Version:
    """Write a kept package down as the next version of the model that it names.

    Raises:
        Conflict: Somebody else registered a version meanwhile.
    """
    name, state = built.manifest.name, app.state()
    known = state.models.get(name)
    version = version_of(app, built, number=1 + (len(known.versions) if known else 0))
    subject = f"model/{name}"
    app.registry.append("version.registered", subject, version, by=app.identity, expect=state.generation(subject))
    return version


def version_of(app: App, built: Package, *, number: int) -> Version:
    """The record of one version."""
    manifest = built.manifest
    return Version(
        model=manifest.name,
        version=number,
        digest=built.digest,
        author=app.identity.name,
        created_at=manifest.created_at,
        engine=manifest.engine,
        parent=manifest.parent,
        datasets=manifest.datasets,
    )
