"""A lock is proven in an environment that is built from a folder of wheels, as an index would give them."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from packages_for_tests import linear_package
from penstock.build.dependencies.proving import NOTE, unhashed
from penstock.errors import BadConfig, ModelFailed
from penstock.packages.read import Package
from penstock.runtime.environments import parse

NEEDED = ("numpy", "msgspec", "joblib", "scipy", "scikit-learn", "threadpoolctl", "narwhals", "cloudpickle")
Pack = Callable[..., Package]


def wheel(folder: Path, name: str) -> None:
    """A wheel of what is installed here, tests of its own left out."""
    found = distribution(name)
    files = [
        (str(one), Path(str(one.locate())))
        for one in found.files or ()
        if not str(one).startswith("..") and "/tests/" not in str(one) and not str(one).endswith((".pyc", "/RECORD"))
    ]
    info = next(one.partition("/")[0] for one, _ in files if one.partition("/")[0].endswith(".dist-info"))
    tag = next(
        line.partition(" ")[2] for line in (found.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")
    )
    path = folder / f"{name.replace('-', '_')}-{found.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for one, place in files:
            archive.write(place, one)
        archive.writestr(f"{info}/RECORD", "".join(f"{one},,\n" for one, _ in files) + f"{info}/RECORD,,\n")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a scikit-learn model needs, some 170 MB."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in NEEDED:
        try:
            wheel(folder, name)
        except ModuleNotFoundError:  # of another version of scikit-learn
            continue
    return folder


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("environments")


@pytest.fixture
def index(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the wheels, to take some away from, as all that pip may ask."""
    folder = tmp_path / "index"
    folder.mkdir()
    for one in wheels.iterdir():
        (folder / one.name).hardlink_to(one)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_COMPILE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


ROWS = np.random.default_rng(0).normal(size=(80, 3))
MODEL = LogisticRegression().fit(ROWS, (ROWS.sum(axis=1) > 0).astype(int))


def proven(pack: Pack, environments: Path) -> Package:
    return pack(MODEL, ROWS, prove_environment=True, environments=environments)


def test_a_compiled_models_original_answers_in_the_locks_own_environment(
    pack: Pack, index: Path, environments: Path
) -> None:
    package = proven(pack, environments)
    manifest = package.manifest
    assert manifest.engine == "onnxruntime"
    text = package.path("requirements.lock").read_text()
    assert not unhashed(text)
    assert {"scikit-learn", "scipy", "numpy", "joblib", "msgspec"} <= parse(text).keys()
    for one in index.glob("scipy-*.whl"):
        assert f"--hash=sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}" in text
    assert "lock_without_hashes" not in manifest.source
    assert f"{package.golden().rows} golden rows answered alike" in manifest.source[NOTE]
    made = environments / manifest.lock_digest / "bin" / "python"
    assert made.exists(), "it is kept by the lock's digest, for whoever serves the original"


def test_without_being_asked_nothing_is_built(pack: Pack, index: Path, tmp_path: Path) -> None:
    package = pack(MODEL, ROWS, environments=tmp_path / "none")
    assert NOTE not in package.manifest.source
    assert package.manifest.source["lock_without_hashes"]
    assert not (tmp_path / "none").exists()


def test_what_the_index_lacks_is_told_by_name(pack: Pack, index: Path, environments: Path) -> None:
    next(index.glob("scipy-*.whl")).unlink()
    with pytest.raises(BadConfig, match="scipy") as refused:
        proven(pack, environments)
    assert refused.value.code == "build.unresolved"


OWN = """
import numpy as np
import threadpoolctl

class Model:
    rows = "array"

    def predict(self, rows: np.ndarray):
        return rows.sum(axis=1) + len(threadpoolctl.__version__)
"""


def test_a_distribution_without_its_module_is_refused(pack: Pack, index: Path, own: Path, environments: Path) -> None:
    """The lock names it, the index has a file of that name, and what the model imports is not in it."""
    changed(index, "other.py", "")
    with pytest.raises(BadConfig, match="threadpoolctl") as refused:
        pack(own, ROWS, prove_environment=True, environments=environments)
    assert refused.value.code == "build.lock_lacks"


def test_an_original_that_answers_otherwise_there_is_refused(
    pack: Pack, index: Path, own: Path, environments: Path
) -> None:
    changed(index, "threadpoolctl.py", "__version__ = ''")
    with pytest.raises(ModelFailed, match="otherwise"):
        pack(own, ROWS, prove_environment=True, environments=environments)


def test_numbers_alone_have_no_environment(pack: Pack, tmp_path: Path) -> None:
    linear_package(tmp_path / "linear")
    with pytest.raises(BadConfig, match="no library") as refused:
        pack(tmp_path / "linear" / "model" / "model.onnx", None, prove_environment=True)
    assert refused.value.code == "build.no_environment"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.py").write_text(OWN)
    return tmp_path / "own"


def changed(index: Path, module: str, text: str) -> None:
    """threadpoolctl's wheel with another module in the place of its own."""
    path = next(index.glob("threadpoolctl-*.whl"))
    kept = path.with_suffix(".kept")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(kept, "w") as copy:
        for one in archive.namelist():
            if one != "threadpoolctl.py":
                copy.writestr(one, archive.read(one))
        copy.writestr(module, text)
    kept.replace(path)
