"""A package's bill of materials before CycloneDX's own schema and reader, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.build.bom import bill_of
from penstock.build.dependencies.lock import lock
from penstock.packages.manifest import read_manifest
from penstock.records import Dataset, Declared

pytestmark = pytest.mark.foreign
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "cyclonedx" / "bin" / "python"
OLD = ROOT / "tests" / "golden" / "format-1" / "package"
HOSTILE = 'a "quoted" </script> \\ \x01 \u2028 <b>'


@pytest.mark.skipif(not PYTHON.exists(), reason="make test sets its environment up")
def test_the_specifications_own_reader_takes_every_bill_and_no_broken_one(tmp_path: Path) -> None:
    manifest = read_manifest(OLD)
    said = {name: HOSTILE for name in Declared.__struct_fields__ if name != "risk"}
    data = [Dataset(name=f"rows {HOSTILE}", digest="sha256:" + "0" * 64, rows=1, role=one) for one in ("train", "test")]
    pins = lock(["sklearn", "pandas", "lightgbm", "onnxruntime"], ask_index=False).text
    bills = {
        "plain": bill_of(manifest, (OLD / "requirements.lock").read_text()),
        "full": bill_of(replace(manifest, declared=Declared(risk="high", **said), datasets=tuple(data)), pins),
        "bare": bill_of(replace(manifest, parity=None, builder="", created_at=0.0), ""),
    }
    broken = json.loads(bills["plain"])
    broken["metadata"]["component"]["modelCard"]["madeUp"] = True
    bills["broken"] = json.dumps(broken).encode()
    for name, text in bills.items():
        (tmp_path / f"{name}.json").write_bytes(text)
    command = [str(PYTHON), str(Path(__file__).parent / "cyclonedx_judge.py")]
    done = subprocess.run(
        [*command, *(str(tmp_path / f"{name}.json") for name in bills)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    *good, bad = json.loads(done.stdout.splitlines()[-1])
    for one in good:
        assert one["fault"] == ""
        assert one["model"] == "machine-learning-model"
        assert one["purls"] == one["purls_again"]
        assert one["odd_licenses"] == []
    assert len(good[1]["purls"]) > 5
    assert "madeUp" in bad["fault"]
