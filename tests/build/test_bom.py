"""The bill of materials: what it lists is what is there, it never varies by itself, and it is signed with the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from models_for_tests import SCIKIT, fitted
from msgspec.structs import replace

from packages_for_tests import flights_like
from penstock.build.bom import NAME, add_bill, bill_of
from penstock.errors import Untrusted
from penstock.packages.manifest import read_manifest
from penstock.packages.read import Package, open_package
from penstock.records import Dataset, Declared, Manifest
from penstock.runtime.environments import LOCK, parse

Pack = Callable[..., Package]
HASH = "ab" * 32
OTHER = "cd" * 32
PINS = f"""# a lock
joblib==0.0.1 --hash=sha256:{HASH}
local-thing==2.1+cpu \\
    --hash=sha256:{HASH} --hash=sha256:{OTHER}
numpy==1.0
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    flights_like(tmp_path / "flights")
    data = Dataset(name="flights-train", digest=f"sha256:{OTHER}", rows=7, role="train", revision="3", kind="delta")
    said = Declared(intended_use="to plan gates", risk="low", mitigation="a person decides", license="MIT", owner="ops")
    return replace(
        read_manifest(tmp_path / "flights"), datasets=(data,), declared=said, builder="penstock 9.9", created_at=1e9
    )


def part(document: dict[str, object], ref: str) -> dict[str, object]:
    """The component with that reference."""
    (found,) = [one for one in document["components"] if one["bom-ref"] == ref]  # type: ignore[attr-defined]
    return found


def test_it_lists_the_model_its_files_its_data_and_its_distributions(manifest: Manifest) -> None:
    document = json.loads(bill_of(manifest, PINS))
    model = document["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "flights")
    assert {one["name"]: one["hashes"][0]["content"] for one in model["components"]} == {
        name: entry.sha256 for name, entry in manifest.files.items()
    }
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "classification"
    assert card["modelParameters"]["inputs"][2] == {"format": "delay FP64 [-1, 1] nullable"}
    assert card["considerations"]["useCases"] == ["to plan gates"]
    assert model["licenses"] == [{"license": {"name": "MIT"}}]
    data = part(document, card["modelParameters"]["datasets"][0]["ref"])
    assert (data["version"], data["hashes"][0]["content"]) == ("3", OTHER)
    local = part(document, "pkg:pypi/local-thing@2.1%2Bcpu")
    assert [one["content"] for one in local["hashes"]] == [HASH, OTHER]
    assert "hashes" not in part(document, "pkg:pypi/numpy@1.0")
    assert document["dependencies"][0]["dependsOn"] == sorted(
        one["purl"] for one in document["components"] if one["type"] == "library"
    )


def test_a_licence_is_known_of_the_installed_version_alone(manifest: Manifest) -> None:
    assert "licenses" not in part(json.loads(bill_of(manifest, PINS)), "pkg:pypi/joblib@0.0.1")
    import joblib

    here = json.loads(bill_of(manifest, f"joblib=={joblib.__version__}\n"))
    assert "BSD" in json.dumps(part(here, f"pkg:pypi/joblib@{joblib.__version__}")["licenses"])


def test_equal_packages_have_equal_bills_and_others_another_serial(manifest: Manifest) -> None:
    once, again = bill_of(manifest, PINS), bill_of(manifest, PINS)
    assert once == again
    other = bill_of(replace(manifest, task="regression"), PINS)
    assert json.loads(other)["serialNumber"] != json.loads(once)["serialNumber"]


def test_a_bill_lists_everything_but_itself_however_often_it_is_made(manifest: Manifest, tmp_path: Path) -> None:
    listed = add_bill(tmp_path / "flights", manifest)
    data = (tmp_path / "flights" / NAME).read_bytes()
    assert listed.files[NAME].sha256 == hashlib.sha256(data).hexdigest()
    assert add_bill(tmp_path / "flights", listed) == listed
    assert (tmp_path / "flights" / NAME).read_bytes() == data


def test_a_real_packages_bill_agrees_with_its_lock_and_cannot_be_changed(pack: Pack, frame: pd.DataFrame) -> None:
    model, rows = fitted(frame, SCIKIT["tree"], pipeline=True)
    package = pack(model, rows, labels="y", created_at=1.0)
    document = json.loads(package.path(NAME).read_text())
    lock = parse((package.folder / LOCK).read_text())
    listed = {one["name"]: one["version"] for one in document["components"] if one["type"] == "library"}
    assert listed == lock
    assert {"numpy", "scikit-learn"} <= set(lock)
    files = {one["name"]: one["hashes"][0]["content"] for one in document["metadata"]["component"]["components"]}
    assert files == {name: entry.sha256 for name, entry in package.manifest.files.items() if name != NAME}
    place = package.folder / NAME
    place.write_text(place.read_text().replace("BSD", "GPL"))
    with pytest.raises(Untrusted):
        open_package(package.folder)
