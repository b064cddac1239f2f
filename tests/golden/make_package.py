"""Make ``tests/golden/format-<FORMAT>/``: a package as this version writes it, for later versions to open.

Run it once, before `penstock.packages.manifest.FORMAT` is raised, and commit the folder:
``python tests/golden/make_package.py``. It never touches a folder that is there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.packages.keys import new_package_key
from penstock.packages.manifest import FORMAT

HERE = Path(__file__).parent


def main() -> None:
    """Build, and keep package, public key and digest."""
    place = HERE / f"format-{FORMAT}"
    if place.exists():
        raise SystemExit(f"{place} is there already")
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"delay": random.normal(size=80).round(2), "carrier": random.choice(["AA", "UA"], 80)})
    rows.loc[::9, "delay"] = np.nan
    truth = np.where(rows["delay"].fillna(0) + (rows["carrier"] == "AA") > 0.5, "late", "on time")
    text = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("n", SimpleImputer(), ["delay"]), ("t", text, ["carrier"])])
    model = make_pipeline(columns, RandomForestClassifier(3, max_depth=3, random_state=0)).fit(rows, truth)
    key = new_package_key()
    with tempfile.TemporaryDirectory() as scratch:
        request = BuildRequest(name="flights", out=Path(scratch), data=rows, labels=truth, key=key, created_at=1.0)
        package = build(model, request)
        shutil.copytree(package.folder, place / "package")
    (place / "package.pub").write_bytes(key.public_key().pem)
    (place / "digest.json").write_text(json.dumps(package.digest) + "\n")


if __name__ == "__main__":
    main()
