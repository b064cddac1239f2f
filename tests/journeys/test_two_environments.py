"""Two models whose libraries cannot live together, numpy 1 and numpy 2, answer side by side from one server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from penstock.build.assemble import build
from penstock.build.dependencies.resolve import resolve
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig
from penstock.packages.read import Package
from penstock.runtime.environments import environment
from tests.dataplane_for_tests import DataPlane, route, until

pytestmark = pytest.mark.timeout(1500)

# Kept between runs: an environment is built once for its lock.
CACHE = Path(__file__).parents[2] / "build" / "environments"
OLD = "scikit-learn==1.4.2\nnumpy==1.26.4\nscipy==1.12.0\njoblib==1.4.2\n"
NEW = "scikit-learn==1.6.1\nnumpy==2.1.3\nscipy==1.14.1\njoblib==1.4.2\n"
ROW = [0.5, -1.0, 2.0]
POISON = [1e9, 0.0, 0.0]
TRAIN = """
import json, sys
import joblib, numpy as np
from sklearn.ensemble import RandomForestClassifier
random = np.random.default_rng(0)
rows = random.normal(size=(400, 3))
model = RandomForestClassifier(10, random_state=0).fit(rows, rows[:, 0] + rows[:, 1] > 0)
joblib.dump(model, "forest.joblib")
np.savetxt("rows.csv", rows[:60], delimiter=",", header="a,b,c", comments="")
print(json.dumps([np.__version__, model.predict_proba([json.loads(sys.argv[1])])[0].tolist()]))
"""
CLASS = """
import os
import joblib
import numpy as np

class Forest:
    rows = "array"

    def __init__(self, folder):
        self.forest = joblib.load(folder / "forest.joblib")
        self.classes_ = self.forest.classes_

    def predict(self, rows):
        if (rows > 1e8).any():
            os.abort()
        chances = self.forest.predict_proba(rows)
        labels = self.forest.classes_[chances.argmax(axis=1)]
        return {"label": labels, "probabilities": chances, "numpy": [np.__version__] * len(rows)}
"""


class Trained(NamedTuple):
    """A forest that was fitted in its environment, the folder of it, and what it said there."""

    folder: Path
    requirements: Path
    numpy: str
    chances: list[float]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    return {name: _train(tmp_path_factory.mktemp(name), text) for name, text in (("old", OLD), ("new", NEW))}


def _train(folder: Path, text: str) -> Trained:
    requirements, lock = folder.parent / f"{folder.name}.txt", folder.parent / f"{folder.name}.lock"
    requirements.write_text(text)
    try:
        lock.write_text(resolve(requirements, "python"))
    except BadConfig as error:
        if os.environ.get("CI"):
            pytest.fail(f"no package index: {error}")
        pytest.skip(f"no package index answers here: {error.code}")
    python = environment(lock, CACHE)
    assert python is not None, "this interpreter has one of the two; ask for other versions"
    done = subprocess.run(
        [python, "-c", TRAIN, json.dumps(ROW)], cwd=folder, capture_output=True, text=True, check=True
    )
    (folder / "model.py").write_text(CLASS)
    return Trained(folder, requirements, *json.loads(done.stdout))


def pack(model: Path, one: Trained, out: Path) -> Package:
    return build(
        model,
        BuildRequest(
            name=out.name,
            out=out,
            data=one.folder / "rows.csv",
            requirements=one.requirements,
            environments=CACHE,
        ),
    )


@pytest.fixture(scope="module")
def plane(trained: dict[str, Trained], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """One server, two endpoints."""
    place = tmp_path_factory.mktemp("served")
    plane = DataPlane(place)
    routes = []
    for name, one in trained.items():
        package = pack(one.folder, one, place / name)
        assert package.manifest.engine == "python"
        plane.packages[package.digest] = str(package.folder)
        routes.append(route(name, package.digest))
    plane.run.mkdir()
    plane.write(*routes)
    try:
        plane.start("--environments", str(CACHE), workers=1)
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


def asked(plane: DataPlane, endpoint: str, row: list[float]) -> tuple[int, dict[str, list[object]]]:
    tensor = {"name": "X", "shape": [1, 3], "datatype": "FP64", "data": row}
    answer = plane.ask("POST", f"/v2/models/{endpoint}/infer", json.dumps({"inputs": [tensor]}))
    return answer.status, {one["name"]: one["data"] for one in answer.json.get("outputs", [])}


def test_both_answer_as_they_did_where_they_were_trained(plane: DataPlane, trained: dict[str, Trained]) -> None:
    assert [one.numpy.partition(".")[0] for one in trained.values()] == ["1", "2"]
    for name, one in trained.items():
        status, outputs = asked(plane, name, ROW)
        assert status == 200
        assert outputs["numpy"] == [one.numpy]
        assert outputs["probabilities"] == pytest.approx(one.chances, abs=1e-12)


def test_a_crash_in_one_leaves_the_other(plane: DataPlane, trained: dict[str, Trained]) -> None:
    status, _ = asked(plane, "old", POISON)
    assert status >= 500
    status, outputs = asked(plane, "new", ROW)
    assert (status, outputs["numpy"]) == (200, [trained["new"].numpy])
    until(lambda: asked(plane, "old", ROW)[0] == 200)


def test_a_pickle_of_older_libraries_is_packaged_and_asked_in_them(trained: dict[str, Trained], tmp_path: Path) -> None:
    one = trained["old"]
    package = pack(one.folder / "forest.joblib", one, tmp_path / "pickled")
    lock = package.path("requirements.lock").read_text()
    assert "numpy==1.26.4 --hash=sha256:" in lock
    assert "msgspec==" in lock
    assert package.manifest.parity is not None
    assert "environment of its own" in package.manifest.parity.reason
    golden = package.golden()
    assert golden.rows > 10
    assert golden.outputs["probabilities"].shape == (golden.rows, 2)


def test_what_the_lock_lacks_is_named(trained: dict[str, Trained], tmp_path: Path) -> None:
    """The class reads a file with pandas, which nobody asked for."""
    one = trained["old"]
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.py").write_text("import pandas\n" + CLASS)
    (source / "forest.joblib").write_bytes((one.folder / "forest.joblib").read_bytes())
    with pytest.raises(BadConfig, match="pandas") as caught:
        pack(source, one, tmp_path / "out")
    assert caught.value.code == "build.lock_lacks"
