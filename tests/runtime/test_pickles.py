"""Forests are loaded as joblib loads them, and no tree's arrays lie beside it meanwhile."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from penstock.runtime.pickles import load_pickle

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((300, 4))
TRUTH = (ROWS[:, 0] + ROWS[:, 1] > 1).astype(int)
SHARED = RANDOM.random(500)

MODELS = {
    "one tree": lambda: DecisionTreeClassifier(random_state=0),
    "a forest": lambda: RandomForestClassifier(5, random_state=0),
    "random trees": lambda: ExtraTreesRegressor(5, random_state=0),
    # Its trees lie in an array of objects, which joblib writes as a pickle in the pickle.
    "boosted trees": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "a pipeline": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)),
}
WRITERS: dict[str, Callable[[object, Path], object]] = {
    "joblib": joblib.dump,
    "compressed": lambda model, path: joblib.dump(model, path, compress=3),
    **{
        f"pickle {protocol}": lambda model, path, protocol=protocol: path.write_bytes(pickle.dumps(model, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_what_joblib_loads(name: str, writer: str, tmp_path: Path) -> None:
    fitted = MODELS[name]().fit(ROWS, TRUTH)
    WRITERS[writer](fitted, tmp_path / "model")
    ours, theirs = load_pickle(tmp_path / "model"), joblib.load(tmp_path / "model")
    assert same_trees(ours, theirs)
    assert np.array_equal(ours.predict(ROWS), theirs.predict(ROWS))
    assert np.array_equal(ours.predict(ROWS), fitted.predict(ROWS))


def test_what_a_file_holds_twice_stays_one_object(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(random_state=0).fit(ROWS, TRUTH)
    joblib.dump(
        {"before": [SHARED.tolist(), tree], "after": [tree, tree.tree_], "again": {"tree": tree}}, tmp_path / "m"
    )
    loaded = load_pickle(tmp_path / "m")
    assert loaded["before"][1] is loaded["after"][0] is loaded["again"]["tree"]
    assert loaded["after"][1] is loaded["after"][0].tree_


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("meant", ["state", "array"])
def test_a_file_that_means_a_trees_state_again_gets_it(meant: str, protocol: int, tmp_path: Path) -> None:
    """No pickler writes such a file; whoever does gets what joblib would give."""
    tree = DecisionTreeClassifier(random_state=0).fit(ROWS, TRUTH).tree_
    made, arguments, state = tree.__reduce__()
    again = state if meant == "state" else state["nodes"]
    (tmp_path / "m").write_bytes(pickle.dumps([Held(made, arguments, state), again], protocol))
    loaded = load_pickle(tmp_path / "m")
    nodes = loaded[1]["nodes"] if meant == "state" else loaded[1]
    assert np.array_equal(nodes, state["nodes"])
    assert np.array_equal(loaded[0].__getstate__()["nodes"], state["nodes"])


def test_an_error_swallowed_while_loading_changes_nothing(tmp_path: Path) -> None:
    tree = DecisionTreeClassifier(random_state=0).fit(ROWS, TRUTH).tree_
    made, arguments, state = tree.__reduce__()
    inner = pickle.dumps([Held(made, arguments, state), state])
    (tmp_path / "m").write_bytes(pickle.dumps(Swallowing(inner)))
    assert len(load_pickle(tmp_path / "m").found) == 2


def test_a_damaged_file_fails_as_it_fails_joblib(tmp_path: Path) -> None:
    joblib.dump(RandomForestClassifier(3, random_state=0).fit(ROWS, TRUTH), tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(whole[: len(whole) // 2])
    for load in (joblib.load, load_pickle):
        with pytest.raises(ValueError, match="EOF: reading array data"):
            load(tmp_path / "m")


def test_readers_are_left_as_they_were(tmp_path: Path) -> None:
    joblib.dump(RandomForestClassifier(3, random_state=0).fit(ROWS, TRUTH), tmp_path / "m")
    readers = (joblib.numpy_pickle.NumpyUnpickler, pickle._Unpickler)
    before = [dict(one.dispatch) for one in readers]
    load_pickle(tmp_path / "m")
    assert [one.dispatch for one in readers] == before


def same_trees(one: object, other: object) -> bool:
    """Field by field: between the fields of a node lie bytes that mean nothing."""
    mine, yours = [list(trees_in(model)) for model in (one, other)]
    states = [(tree.__getstate__(), beside.__getstate__()) for tree, beside in zip(mine, yours, strict=True)]
    return bool(mine) and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in states
    )


def trees_in(model: object) -> Iterator[object]:
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    for one in np.ravel(np.asarray(getattr(final, "estimators_", [final]), dtype=object)):
        yield one.tree_


MEASURED = """
import sys, joblib
from pathlib import Path
from penstock.runtime.pickles import load_pickle
import sklearn.ensemble, pandas
def held():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
path = Path(sys.argv[1])
before = held()
model = (joblib.load if sys.argv[2] == "joblib" else load_pickle)(path)
print((held() - before) / path.stat().st_size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by /proc")
@pytest.mark.parametrize("writer", ["joblib", "pickle 4", "pickle 5"])
def test_a_forest_takes_its_size_once(writer: str, tmp_path: Path) -> None:
    """Measured on some 40 MB, in processes of their own."""
    rows = RANDOM.random((20_000, 4))
    forest = ExtraTreesRegressor(14, random_state=0).fit(rows, rows[:, 0] + RANDOM.random(20_000))
    WRITERS[writer](forest, tmp_path / "m")

    def peak(how: str) -> float:
        command = [sys.executable, "-c", MEASURED, str(tmp_path / "m"), how]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak("penstock") < 1.25
    assert peak("joblib") > 1.7, "joblib alone keeps both"


class Held:
    """Pickled as what made a tree, with the very state that was given."""

    def __init__(self, *reduced: object) -> None:
        self._reduced = reduced

    def __reduce__(self) -> tuple[object, ...]:
        return self._reduced


class Swallowing:
    """Reads a pickle inside of its own state, and goes on where that fails."""

    def __init__(self, inner: bytes) -> None:
        self.inner = inner

    def __setstate__(self, state: dict[str, bytes]) -> None:
        try:
            self.found = pickle._loads(state["inner"])
        except Exception:
            self.found = []
