"""The package's bill of materials: a CycloneDX 1.6 document about the model, its files, its data and what it needs.

    manifest + lock -> model (card, files), data, distributions -> ``sbom.json``, listed in the manifest and signed

What comes in: the folder and its manifest, but for this one file. What goes out: the manifest with it. Equal
manifests and locks give equal bytes on equal installations: the serial number is made of the content.
"""

from __future__ import annotations

import hashlib
import platform
import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata, packages_distributions, version
from pathlib import Path
from urllib.parse import quote

import msgspec

from penstock.packages.digests import sha256_bytes
from penstock.records import Dataset, FileEntry, Manifest, Scalar
from penstock.runtime.environments import LOCK, parse
from penstock.tensors import TensorSpec

NAME = "sbom.json"
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
SPEC = "1.6"
MODEL = "model"
MAX_LICENSE_LETTERS = 100
"""Some distributions put the whole text where the name belongs."""

Part = dict[str, object]
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, SCHEMA)


def add_bill(folder: Path, manifest: Manifest) -> Manifest:
    """Write the bill of a folder whose other files are all there; the manifest that lists it too.

    Raises:
        BadConfig: The lock cannot be read.
    """
    others = {name: entry for name, entry in manifest.files.items() if name != NAME}
    bare = msgspec.structs.replace(manifest, files=others)
    lock = folder / LOCK
    data = bill_of(bare, lock.read_text(encoding="utf-8") if lock.is_file() else "")
    (folder / NAME).write_bytes(data)
    return msgspec.structs.replace(bare, files=others | {NAME: FileEntry(sha256=sha256_bytes(data), size=len(data))})


def bill_of(manifest: Manifest, lock: str) -> bytes:
    """The document.

    Args:
        manifest: Of the package, without the bill itself.
        lock: Text of its lock; empty for none.
    """
    libraries = [_library(*pin) for pin in _pins(lock)]
    data = [_data(one) for one in manifest.datasets]
    document: Part = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(manifest.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": _tools(manifest)},
            "component": _model(manifest),
        },
        "components": [*data, *libraries],
        "dependencies": [
            {"ref": MODEL, "dependsOn": [one["bom-ref"] for one in libraries]},
            *({"ref": one["bom-ref"]} for one in libraries),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(_written(document)).hexdigest())
    return _written(document | {"serialNumber": f"urn:uuid:{serial}"})


def _written(document: Part) -> bytes:
    """For people and programs: sorted, indented."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def _tools(manifest: Manifest) -> list[Part]:
    """What made the package, and on what it ran."""
    name, _, number = manifest.builder.partition(" ")
    made: Part = {"type": "application", "name": name or "penstock"}
    tools = [made | {"version": number, "purl": _purl(name, number)} if number else made]
    tools.append(
        {"type": "platform", "name": platform.python_implementation(), "version": platform.python_version()},
    )
    if manifest.engine == "onnxruntime":
        tools += [{"type": "library", "name": name, "version": number} for name, number in _runtimes()]
    return tools


def _runtimes() -> Iterator[tuple[str, str]]:
    """The distribution that compiled graphs were run by here: it goes by several names."""
    for name in sorted(set(packages_distributions().get("onnxruntime", ()))):
        yield name, version(name)


def _model(manifest: Manifest) -> Part:
    """The model: what it is, its files, its card."""
    model: Part = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": manifest.name,
        "hashes": [_sha256(manifest.files[manifest.entry].sha256)],
        "components": [_file(name, entry) for name, entry in sorted(manifest.files.items())],
        "modelCard": _card(manifest),
        "properties": _properties(
            {
                "kind": manifest.kind,
                "engine": manifest.engine,
                "entry": manifest.entry,
                "parent": manifest.parent,
                **{f"source:{name}": value for name, value in manifest.source.items()},
            }
        ),
    }
    said = manifest.declared
    if said.license:
        model["licenses"] = [{"license": {"name": said.license}}]
    if said.owner:
        model["manufacturer"] = {"name": said.owner}
    return model


def _card(manifest: Manifest) -> Part:
    """What CycloneDX calls a model card: only what is known when the package is made."""
    parameters: Part = {
        "task": manifest.task,
        "modelArchitecture": manifest.kind,
        "datasets": [{"ref": _data_ref(one)} for one in manifest.datasets],
        "inputs": [{"format": _format(spec)} for spec in manifest.signature.inputs],
        "outputs": [{"format": _format(spec)} for spec in manifest.signature.outputs],
    }
    said = manifest.declared
    considered: Part = {}
    for key, texts in {
        "users": [said.users],
        "useCases": [said.intended_use],
        "technicalLimitations": [
            said.limitations,
            f"not for: {said.out_of_scope}" if said.out_of_scope else "",
            f"refuses {manifest.source['refused']}" if "refused" in manifest.source else "",
        ],
    }.items():
        if any(texts):
            considered[key] = [text for text in texts if text]
    if said.risk:
        stated: Part = {"name": f"declared risk: {said.risk}"}
        considered["ethicalConsiderations"] = [
            stated | ({"mitigationStrategy": said.mitigation} if said.mitigation else {})
        ]
    card: Part = {"modelParameters": parameters}
    if considered:
        card["considerations"] = considered
    if manifest.parity is not None:
        card["properties"] = _properties(
            {f"parity:{name}": value for name, value in msgspec.structs.asdict(manifest.parity).items()}
        )
    return card


def _format(spec: TensorSpec) -> str:
    """``distance FP64 [-1, 1]``."""
    return f"{spec.name} {spec.datatype} {list(spec.shape)}{' nullable' if spec.nullable else ''}"


def _file(name: str, entry: FileEntry) -> Part:
    """One file of the package."""
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [_sha256(entry.sha256)],
        "properties": _properties({"bytes": entry.size}),
    }


def _data_ref(dataset: Dataset) -> str:
    return f"data:{dataset.role}:{dataset.name}"


def _data(dataset: Dataset) -> Part:
    """A dataset by digest; its place is the packager's own business."""
    found: Part = {
        "type": "data",
        "bom-ref": _data_ref(dataset),
        "name": dataset.name,
        "data": [{"type": "dataset", "name": dataset.name, "description": f"served as {dataset.role} rows"}],
        "properties": _properties(
            {"role": dataset.role, "rows": dataset.rows, "columns": len(dataset.columns), "kind": dataset.kind}
        ),
    }
    digest = dataset.digest.removeprefix("sha256:")
    if re.fullmatch(r"[0-9a-f]{64}", digest):
        found["hashes"] = [_sha256(digest)]
    if dataset.revision:
        found["version"] = dataset.revision
    return found


def _pins(lock: str) -> list[tuple[str, str, list[str]]]:
    """Name, version and hashes of each pin, by name."""
    found = []
    for line in lock.replace("\\\n", " ").splitlines():
        found += [(name.rstrip(";"), number, _HASH.findall(line)) for name, number in parse(line).items()]
    return sorted(found)


def _library(name: str, number: str, digests: list[str]) -> Part:
    """One locked distribution; its licence is known where that very version is installed here."""
    purl = _purl(name, number)
    found: Part = {"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl}
    if digests:
        found["hashes"] = [_sha256(digest) for digest in digests]
    licenses = _licenses(name, number)
    return found | {"licenses": licenses} if licenses else found


def _licenses(name: str, number: str) -> list[Part]:
    """As its own metadata has them: an SPDX expression, else the classifiers' names, else a short free text."""
    try:
        known = metadata(name)
    except PackageNotFoundError:
        return []
    if known["Version"] != number:
        return []
    if expression := _first(known, "License-Expression"):
        return [{"expression": expression}]
    classes = [one.rpartition(" :: ")[2] for one in known.get_all("Classifier") or () if one.startswith("License :: ")]
    text = _first(known, "License")
    if not classes and text and len(text) <= MAX_LICENSE_LETTERS and "\n" not in text:
        classes = [text]
    return [{"license": {"name": one}} for one in sorted(set(classes))]


def _first(known: PackageMetadata, field: str) -> str:
    """A field's value; empty where it is absent."""
    return str((known.get_all(field) or ("",))[0]).strip()


def _purl(name: str, number: str) -> str:
    """The package URL of a distribution."""
    return f"pkg:pypi/{quote(name, safe='.-_~')}@{quote(number, safe='.-_~')}"


def _sha256(digest: str) -> Part:
    return {"alg": "SHA-256", "content": digest}


def _properties(facts: Mapping[str, Scalar]) -> list[Part]:
    """Named values in Penstock's own corner; what is empty is left out."""
    return [
        {"name": f"penstock:{name}", "value": str(value)}
        for name, value in sorted(facts.items())
        if value not in ("", None)
    ]
