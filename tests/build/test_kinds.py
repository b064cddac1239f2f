"""What people bring packages with default settings, answers as it did, and runs nothing in this process.

`python tests/build/test_kinds.py` prints the table: kind, engine, rows compared, largest error, reason.
"""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

sys.path.insert(0, str(Path(__file__).parent))

from models_for_tests import fitted, kinds, make_frame
from several_for_tests import examine_some, lay_ready, packaged

from penstock.build.schema import to_arrays
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove

BOOSTED = {
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=9, verbose=-1),
    "lightgbm regression": lightgbm.LGBMRegressor(n_estimators=9, verbose=-1),
    "xgboost": xgboost.XGBClassifier(n_estimators=9),
    "xgboost regression": xgboost.XGBRegressor(n_estimators=9),
}
ALL = [*kinds(), *((f"{name} in a pipeline", model, True) for name, model in BOOSTED.items())]
NAMES = [name for name, _, _ in ALL]

Built = tuple[object, pd.DataFrame, Package]
_watched: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in ("pickle.find_class", "os.system"):
        _watched.append(f"{event} {arguments[:2]}")


def package_all(folder: Path) -> dict[str, Built]:
    """Every kind from its joblib file, examined by two sandboxed processes that share the kinds between them."""
    frame = make_frame(300, seed=0)
    ready = {name: fitted(frame, model, pipeline=pipe) for name, model, pipe in ALL}
    places = [
        lay_ready(folder / str(number), trained, rows, compress=number % 4)
        for number, (trained, rows) in enumerate(ready.values())
    ]
    # An audit hook cannot be removed, so it is switched.
    global _watching  # noqa: PLW0603
    _watching = True
    try:
        with ThreadPoolExecutor(2) as pool:
            halves = pool.map(lambda part: examine_some(places[part::2], folder / f"part-{part}"), (0, 1))
        examined = dict(zip(places[0::2] + places[1::2], chain(*halves), strict=True))
        return {
            name: (*ready[name], packaged(place, examined[place], ready[name][1]))  # type: ignore[arg-type]
            for name, place in zip(NAMES, places, strict=True)
        }
    finally:
        _watching = False


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    sys.addaudithook(_watch)
    return package_all(tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize("name", NAMES)
def test_the_package_answers_as_the_original(built: dict[str, Built], name: str) -> None:
    trained, rows, package = built[name]
    fresh = make_frame(120, seed=1)
    fresh = fresh if "pipeline" in name else fresh[list(rows.columns[:-1])].fillna(0.0).astype(float)
    fresh.iloc[0, fresh.columns.get_loc("hour")] = 99
    if "carrier" in fresh:
        fresh.iloc[1, fresh.columns.get_loc("carrier")] = "ZZ"
    asked = fresh if "pipeline" in name else fresh.to_numpy()
    engine = open_engine(package)
    try:
        prove(engine, package)
        answers = engine.run(to_arrays(fresh, package.manifest.signature.inputs))
    finally:
        engine.close()
    if package.manifest.task == "regression":
        expected = trained.predict(asked)  # type: ignore[attr-defined]
        np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-5, atol=1e-5)
        return
    assert answers["label"].tolist() == trained.predict(asked).tolist()  # type: ignore[attr-defined]
    if hasattr(trained, "predict_proba"):
        np.testing.assert_allclose(answers["probabilities"], trained.predict_proba(asked), atol=1e-5)
    else:
        np.testing.assert_allclose(answers["scores"][:, 1], trained.decision_function(asked), atol=1e-5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_compiled_and_its_report_says_how_that_was_shown(built: dict[str, Built], name: str) -> None:
    _, _, package = built[name]
    parity = package.manifest.parity
    assert parity is not None
    assert (package.manifest.engine, parity.passed, parity.label_flips, parity.reason) == ("onnxruntime", True, 0, "")
    assert parity.rows > 290
    assert parity.max_error <= 1e-5
    grows_trees = any(word in name for word in ("tree", "forest", "boost", "lightgbm"))
    assert (parity.threshold_rows > 0) == grows_trees


def test_nothing_of_a_model_ran_in_this_process(built: dict[str, Built]) -> None:
    assert len(built) == len(NAMES)
    assert _watched == []


def table(built: dict[str, Built]) -> str:
    """Kind, engine, what was compared."""
    lines = [f"{'kind':36} {'engine':12} {'rows':>5} {'edges':>5} {'flips':>5} {'max error':>9}  reason"]
    for name, (_, _, package) in built.items():
        found = package.manifest.parity
        assert found is not None
        lines.append(
            f"{name:36} {package.manifest.engine:12} {found.rows:5} {found.threshold_rows:5} {found.label_flips:5}"
            f" {found.max_error:9.1e}  {found.reason}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print(table(package_all(Path(place))))
