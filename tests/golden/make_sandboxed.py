"""Make ``tests/golden/sandboxed-<FORMAT>/``: a package that stays Python, and what old packages answer when served.

Run it once, after ``make_package.py`` and before `penstock.packages.manifest.FORMAT` is raised, and commit the folder:
``PYTHONPATH=tests python tests/golden/make_sandboxed.py``. It never touches a folder that is there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from dataplane_for_tests import DataPlane, route
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.keys import new_package_key
from penstock.packages.manifest import FORMAT

HERE = Path(__file__).parent
SOURCE = '''"""What a seat costs: a rule that somebody wrote by hand."""

import numpy as np


class Fare:
    """Price by distance, dearer on the last days before departure; a class of travel doubles it."""

    def predict(self, rows):
        late = np.exp(-rows["days"].to_numpy(float) / 7.0)
        price = 40.0 + 0.1 * rows["distance"].to_numpy(float) * (1.0 + late)
        return np.where(rows["cabin"] == "business", 2.0 * price, price)
'''
REQUESTS = {
    "flights": [
        {"name": "delay", "datatype": "FP64", "shape": [4, 1], "data": [0.4, -1.2, None, 2.0]},
        {"name": "carrier", "datatype": "BYTES", "shape": [4, 1], "data": ["AA", "UA", "AA", "B6"]},
    ],
    "fares": [
        {"name": "distance", "datatype": "FP64", "shape": [3, 1], "data": [100.0, 2475.0, 733.5]},
        {"name": "days", "datatype": "INT64", "shape": [3, 1], "data": [0, 30, 7]},
        {"name": "cabin", "datatype": "BYTES", "shape": [3, 1], "data": ["economy", "business", "economy"]},
    ],
}


def main() -> None:
    """Build, keep package, public key and digest, then ask both packages over V2 and keep the answers."""
    place = HERE / f"sandboxed-{FORMAT}"
    if place.exists():
        raise SystemExit(f"{place} is there already")
    random = np.random.default_rng(0)
    rows = pd.DataFrame({
        "distance": random.uniform(80, 2600, 60).round(1),
        "days": random.integers(0, 90, 60),
        "cabin": random.choice(["economy", "business"], 60),
    })  # fmt: skip
    key = new_package_key()
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "fare.py"
        source.write_text(SOURCE)
        request = BuildRequest(name="fares", out=Path(scratch), data=rows, key=key, lock=False, created_at=1.0)
        package = build(source, request)
        shutil.copytree(package.folder, place / "package")
        (place / "package.pub").write_bytes(key.public_key().pem)
        (place / "digest.json").write_text(json.dumps(package.digest) + "\n")
        answers = ask(Path(scratch), {"flights": HERE / f"format-{FORMAT}", "fares": place})
    (place / "served.json").write_text(json.dumps(answers, indent=1) + "\n")


def ask(scratch: Path, places: dict[str, Path]) -> dict[str, dict[str, object]]:
    """What a data plane answers by packages of these names: request and outputs."""
    plane = DataPlane(scratch)
    (scratch / "trusted.pub").write_bytes(b"".join((place / "package.pub").read_bytes() for place in places.values()))
    digests = {name: json.loads((place / "digest.json").read_text()) for name, place in places.items()}
    plane.packages = {
        digests[name]: str(shutil.copytree(at / "package", scratch / name)) for name, at in places.items()
    }
    plane.write(*(route(name, digest) for name, digest in digests.items()))
    plane.start("--spares", "0", "--keys", str(scratch / "trusted.pub"), workers=1)
    try:
        plane.settled(workers=1)
        answers: dict[str, dict[str, object]] = {}
        for name in places:
            body = {"inputs": REQUESTS[name]}
            answer = plane.ask("POST", f"/v2/models/{name}/infer", json.dumps(body))
            assert answer.status == 200, answer.body
            answers[name] = {"request": body, "outputs": answer.json["outputs"]}
        return answers
    finally:
        plane.stop()


if __name__ == "__main__":
    main()
