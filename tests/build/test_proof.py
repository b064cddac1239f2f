"""Before it is registered, a model answers in a process that has what its lock says and nothing else."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from penstock.build.dependencies import surroundings
from penstock.build.dependencies.lock import barred_by, lock
from penstock.errors import BadConfig
from penstock.runtime.environments import parse

CLASS = """
import numpy as np
{imports}

class Model:
    rows = "array"

    def predict(self, rows: np.ndarray):
        {before}
        return rows.sum(axis=1)
"""


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 3))


def model(folder: Path, *, imports: str = "", before: str = "pass") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(CLASS.format(imports=imports, before=before))
    return folder


def test_what_is_installed_beside_the_lock_is_barred() -> None:
    barred = barred_by({"numpy": "1", "scikit-learn;": "1"})
    assert {"pandas", "scipy", "joblib"} <= set(barred)
    assert not {"numpy", "sklearn", "penstock"} & set(barred)


@pytest.mark.parametrize("kind", ["module", "later"])
def test_a_lock_that_lacks_a_module_is_refused_by_its_name(
    kind: str, rows: np.ndarray, pack: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This interpreter has all that the lock says, and pandas beside it."""
    monkeypatch.setattr(surroundings, "resolve", lambda *_: lock(["numpy"], ask_index=False).text)
    told = {"imports": "import pandas"} if kind == "module" else {"before": "import pandas.api"}
    with pytest.raises(BadConfig, match="pandas") as caught:
        pack(model(tmp_path / "m", **told), pd.DataFrame(rows), requirements=tmp_path)  # type: ignore[operator]
    assert caught.value.code == "build.lock_lacks"


def test_a_lock_that_has_all_of_it_is_kept(
    rows: np.ndarray, pack: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "resolve", lambda *_: lock(["numpy", "pandas"], ask_index=False).text)
    folder = model(tmp_path / "m", imports="import pandas")
    package = pack(folder, pd.DataFrame(rows), requirements=tmp_path)  # type: ignore[operator]
    pins = parse(package.path("requirements.lock").read_text())
    assert pins["pandas"] == version("pandas")
    assert package.manifest.source["environment"].startswith("Python 3.")


def test_without_requirements_the_lock_is_what_a_fresh_process_imports(
    rows: np.ndarray, pack: object, tmp_path: Path
) -> None:
    """The pickle itself names scikit-learn alone."""
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer  # a step that no converter knows

    fitted = make_pipeline(FunctionTransformer(np.cbrt), LinearRegression()).fit(rows, rows.sum(axis=1))
    package = pack(fitted, rows)  # type: ignore[operator]
    assert package.manifest.engine == "python"
    pins = parse(package.path("requirements.lock").read_text())
    assert {"numpy", "msgspec", "scikit-learn", "scipy", "joblib"} <= pins.keys()
