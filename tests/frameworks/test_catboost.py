"""CatBoost's models, packaged and asked over HTTP beside CatBoost itself, row for row."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.asked_for_tests import asked, rows_near, served
from tests.dataplane_for_tests import DataPlane

from penstock.adapters import TABLE, load
from penstock.build.assemble import build
from penstock.build.examine import examine
from penstock.build.format import detect
from penstock.build.pickles.audit import audit_pickle
from penstock.build.request import BuildRequest
from penstock.build.trees import oblivious
from penstock.build.trees.oblivious import from_catboost
from penstock.errors import BadConfig, ModelFailed, PenstockError, Untrusted
from penstock.packages.read import Package
from penstock.runtime.original import load_original

QUIET = {"iterations": 40, "depth": 5, "verbose": 0, "allow_writing_files": False, "random_seed": 0}
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(600, 4))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = np.nan
SCORE = np.nan_to_num(ROWS[:, 0]) + np.nan_to_num(ROWS[:, 1]) ** 2
TWO, THREE = SCORE > 1, np.digitize(SCORE, [0, 1])
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c", "d"])
MIXED = pd.DataFrame({"a": ROWS[:, 0], "size": RANDOM.integers(0, 5, 600), "shop": RANDOM.choice(["x", "y", "z"], 600)})


def ranked(**more: object) -> CatBoostRanker:
    return CatBoostRanker(**QUIET, **more).fit(ROWS, THREE, group_id=np.repeat(np.arange(60), 10))


MODELS = {
    "two": (CatBoostClassifier(**QUIET).fit(ROWS, TWO), ROWS),
    "three": (CatBoostClassifier(**QUIET).fit(FRAME, np.array(["low", "mid", "top"])[THREE]), FRAME),
    "regression": (CatBoostRegressor(**QUIET, nan_mode="Max").fit(ROWS, SCORE), ROWS),
    "ranking": (ranked(loss_function="YetiRank"), ROWS),
    "mixed": (CatBoostClassifier(**QUIET, cat_features=["size", "shop"]).fit(MIXED, TWO), MIXED),
}
KINDS = {"two": "cbm", "three": "json", "regression": "", "ranking": "cbm", "mixed": ""}


def write(model: CatBoost, path: Path, kind: str) -> Path:
    if kind:
        model.save_model(path, format=kind)
    else:
        joblib.dump(model, path)
    return path


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    folder = tmp_path_factory.mktemp("catboost")
    found = {}
    for name, (model, rows) in MODELS.items():
        path = write(model, folder / name, KINDS[name])
        found[name] = build(path, BuildRequest(name=name, out=folder / "out", data=rows, lock=False))
    return found


@pytest.fixture(scope="module")
def plane(packages: dict[str, Package], tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    started = served(DataPlane(tmp_path_factory.mktemp("plane")), packages)
    try:
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("name", ["two", "three", "regression", "ranking"])
def test_ten_thousand_rows_are_answered_as_catboost_answers_them(
    plane: DataPlane, packages: dict[str, Package], name: str
) -> None:
    model, given = MODELS[name]
    manifest = packages[name].manifest
    assert manifest.engine == "onnxruntime"
    assert manifest.parity is not None
    assert manifest.parity.threshold_rows > 300
    borders = [(int(column), float(one)) for column, known in model.get_borders().items() for one in known]
    rows = rows_near(ROWS, borders, count=10_000)
    as_fitted = pd.DataFrame(rows, columns=FRAME.columns) if given is FRAME else rows
    columns = {key: rows[:, [at]] for at, key in enumerate(FRAME)} if given is FRAME else {"X": rows}
    answers = asked(plane, name, columns)
    if name in ("two", "three"):
        wanted = model.predict(as_fitted).ravel()
        wanted = wanted.astype(int) if name == "two" else wanted
        assert int((answers["label"] != wanted).sum()) == 0
        np.testing.assert_allclose(answers["probabilities"], model.predict_proba(as_fitted), atol=1e-5)
    else:
        np.testing.assert_allclose(answers["prediction"], model.predict(as_fitted), rtol=1e-5, atol=1e-5)


def test_categories_stay_with_catboost_and_are_answered_as_it_does(
    plane: DataPlane, packages: dict[str, Package]
) -> None:
    manifest = packages["mixed"].manifest
    assert (manifest.kind, manifest.engine) == ("sklearn", "python")
    assert "categorical" in manifest.parity.reason  # type: ignore[union-attr]
    assert [(one.name, one.datatype) for one in manifest.signature.inputs] == [
        ("a", "FP64"),
        ("size", "INT64"),
        ("shop", "BYTES"),
    ]
    assert "catboost==" in packages["mixed"].path("requirements.lock").read_text()
    columns = {
        "a": MIXED[["a"]].to_numpy(),
        "size": MIXED[["size"]].to_numpy(),
        "shop": np.array(MIXED[["shop"]], dtype=object, copy=True),
    }
    columns["shop"][0, 0] = "never seen"
    answers = asked(plane, "mixed", columns)
    frame = MIXED.assign(shop=columns["shop"].ravel())
    assert answers["label"].tolist() == MODELS["mixed"][0].predict(frame).astype(int).tolist()
    np.testing.assert_allclose(answers["probabilities"], MODELS["mixed"][0].predict_proba(frame), atol=1e-6)


# -- in this process: compiled or not, equal or not


def examined(path: Path, rows: pd.DataFrame | np.ndarray, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """What the sandbox's entry finds."""
    monkeypatch.chdir(place)
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows).rename(columns=str)
    frame.to_parquet(place / "rows.parquet")
    return examine({"model": str(path), "data": str(place / "rows.parquet")}, place)  # type: ignore[return-value]


GROUPS = np.repeat(np.arange(60), 10)
COMPILED = {
    "one against all": lambda: CatBoostClassifier(loss_function="MultiClassOneVsAll", **QUIET).fit(ROWS, THREE),
    "labels that are chances": lambda: CatBoostClassifier(loss_function="CrossEntropy", **QUIET).fit(ROWS, SCORE > 0),
    "missing above all": lambda: CatBoostClassifier(nan_mode="Max", **QUIET).fit(ROWS, TWO),
    "grown leaf by leaf": lambda: CatBoostClassifier(grow_policy="Lossguide", **QUIET).fit(ROWS, THREE),
    "grown level by level": lambda: CatBoostRegressor(grow_policy="Depthwise", **QUIET).fit(ROWS, SCORE),
    "counts": lambda: CatBoostRegressor(loss_function="Poisson", **QUIET).fit(ROWS, THREE),
    "tweedie": lambda: CatBoostRegressor(loss_function="Tweedie:variance_power=1.5", **QUIET).fit(ROWS, THREE),
    "several numbers": lambda: CatBoostRegressor(loss_function="MultiRMSE", **QUIET).fit(
        ROWS, np.stack([SCORE, -SCORE], axis=1)
    ),
    "quantiles": lambda: CatBoostRegressor(loss_function="MultiQuantile:alpha=0.1,0.9", **QUIET).fit(ROWS, SCORE),
    "pairs": lambda: ranked(loss_function="PairLogit"),
    "a scale and a bias": lambda: scaled(CatBoostRegressor(**QUIET).fit(ROWS, SCORE)),
    "an ignored column": lambda: CatBoostClassifier(ignored_features=[1], **QUIET).fit(ROWS, TWO),
    "no face": lambda: CatBoost({"loss_function": "Logloss", **QUIET}).fit(ROWS, TWO),
    "in a pipeline": lambda: make_pipeline(StandardScaler(), CatBoostClassifier(**QUIET)).fit(ROWS, THREE),
    "ranking in a pipeline": lambda: make_pipeline(StandardScaler(), CatBoostRanker(**QUIET)).fit(
        ROWS, THREE, catboostranker__group_id=GROUPS
    ),
}


def scaled(model: CatBoost) -> CatBoost:
    model.set_scale_and_bias(1.5, -0.25)
    return model


@pytest.mark.parametrize("name", COMPILED)
def test_what_answers_numbers_of_numbers_compiles(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = COMPILED[name]()
    path = write(model, tmp_path / "model", "" if not isinstance(model, CatBoost) or len(name) % 2 else "json")
    found = examined(path, ROWS, tmp_path, monkeypatch)
    parity = found["parity"]
    assert (found["engine"], parity["label_flips"], parity.get("reason", "")) == ("onnxruntime", 0, "")
    assert parity["threshold_rows"] > 100


def test_a_threshold_of_its_own_and_other_objectives_stay_with_catboost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CatBoostClassifier(**QUIET).fit(ROWS, TWO)
    model.set_probability_threshold(0.8)
    for at, one in enumerate((model, CatBoostRegressor(loss_function="RMSEWithUncertainty", **QUIET).fit(ROWS, SCORE))):
        place = tmp_path / str(at)
        place.mkdir()
        found = examined(write(one, place / "model", "cbm"), ROWS, place, monkeypatch)
        assert found["engine"] == "python"
        assert "of CatBoost" in found["parity"]["reason"]


def test_what_is_too_large_to_be_written_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oblivious, "MAX_NODES", 500)
    with pytest.raises(NotImplementedError, match="500 nodes"):
        from_catboost(MODELS["two"][0])


def test_several_labels_a_row_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CatBoostClassifier(loss_function="MultiLogloss", **QUIET).fit(ROWS, np.stack([TWO, ~TWO], axis=1))
    with pytest.raises(BadConfig, match="several labels a row"):
        examined(write(model, tmp_path / "model", "cbm"), ROWS, tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", ["cbm", "json"])
def test_a_file_is_known_by_its_content_alone(tmp_path: Path, kind: str) -> None:
    # A column may be called what another library's file is known by.
    frame = FRAME.rename(columns={"a": "learner", "b": "tree"})
    path = write(CatBoostClassifier(**QUIET).fit(frame, TWO), tmp_path / "model.pkl", kind)
    assert detect(path)[::2] == ("catboost", f".{kind}")
    for other in set(TABLE["format"]) - {"catboost"}:
        assert not load("format", other)().sniff(path), other


@pytest.mark.parametrize("damage", ["short", "other bytes", "json"])
def test_a_damaged_file_is_refused_and_ends_nothing(tmp_path: Path, damage: str) -> None:
    path = write(MODELS["two"][0], tmp_path / "model", "json" if damage == "json" else "cbm")
    data = bytearray(path.read_bytes())
    if damage == "other bytes":
        data[8:2000] = b"\xff" * 1992
    path.write_bytes(data if damage == "other bytes" else data[: len(data) // 2])
    with pytest.raises(PenstockError):
        build(path, BuildRequest(name="m", out=tmp_path / "out", data=ROWS, lock=False))


def test_a_pickle_names_catboost_s_classes_and_nothing_else_of_it(tmp_path: Path) -> None:
    for model, _ in MODELS.values():
        joblib.dump(model, tmp_path / "m")
        assert not audit_pickle(tmp_path / "m").refused

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return CatBoost.load_model, (MODELS["two"][0], "/etc/passwd")

    (tmp_path / "evil").write_bytes(pickle.dumps(Evil()))
    with pytest.raises((Untrusted, ModelFailed)):
        build(tmp_path / "evil", BuildRequest(name="m", out=tmp_path / "out", data=ROWS, lock=False))


def test_a_folder_of_mlflow_s_holds_one_as_mlflow_calls_it(tmp_path: Path) -> None:
    folder = tmp_path / "logged"
    folder.mkdir()
    write(MODELS["mixed"][0], folder / "model.cb", "cbm")
    (folder / "MLmodel").write_text(
        "flavors:\n  catboost:\n    data: model.cb\n    model_type: CatBoostClassifier\n    save_format: cbm\n"
        "  python_function:\n    data: model.cb\n    loader_module: mlflow.catboost\nmlflow_version: 3.17.2\n"
    )
    package = build(folder, BuildRequest(name="m", out=tmp_path / "out", data=MIXED, lock=False))
    assert (package.manifest.kind, package.manifest.engine) == ("mlflow", "python")


def test_a_file_without_a_face_gets_the_one_of_its_objective(tmp_path: Path) -> None:
    for name, kind in (("two", CatBoostClassifier), ("regression", CatBoostRegressor), ("ranking", CatBoostRanker)):
        path = write(MODELS[name][0], tmp_path / f"{name}.cbm", "cbm")
        assert type(load_original(path, "catboost")) is kind
