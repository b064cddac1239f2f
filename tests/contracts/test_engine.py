"""One suite for every engine of the table: the same model, packaged for each, answers the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import joblib
import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

from penstock.adapters import TABLE
from penstock.errors import ModelFailed, PenstockError
from penstock.packages.golden import Golden, encode_golden
from penstock.packages.read import Package, open_package
from penstock.records import FileEntry, Manifest, encode
from penstock.runtime.engine import Engine, open_engine, prove
from penstock.tensors import Arrays, Signature, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec(name="X", datatype="FP32", shape=(-1, 4)),),
    outputs=(
        TensorSpec(name="label", datatype="INT64", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 3)),
    ),
)


def rows(count: int, seed: int = 0) -> Arrays:
    return {"X": np.random.default_rng(seed).random((count, 4), dtype=np.float32)}


def to_graph(model: RandomForestClassifier) -> bytes:
    options = {id(model): {"zipmap": False}}
    graph = to_onnx(model, rows(1)["X"], options=options)
    names = {"output_label": "label", "output_probability": "probabilities"}
    names |= {"label": "label", "probabilities": "probabilities"}
    for node in graph.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
    for output in graph.graph.output:
        output.name = names[output.name]
    return graph.SerializeToString()


@pytest.fixture(scope="session")
def model() -> RandomForestClassifier:
    features = rows(300, seed=1)["X"]
    classes = (features[:, 0] * 3).astype(int)
    return RandomForestClassifier(15, max_depth=6, random_state=0).fit(features, classes)


@pytest.fixture(scope="session")
def make(model: RandomForestClassifier, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Package]:
    def package(engine: str, *, wrong: bool = False) -> Package:
        folder = tmp_path_factory.mktemp(engine)
        entry = "model.onnx" if engine == "onnxruntime" else "original.joblib"
        if engine == "onnxruntime":
            (folder / entry).write_bytes(to_graph(model))
        else:
            joblib.dump(model, folder / entry)
        inputs = rows(10)
        probabilities = model.predict_proba(inputs["X"]).astype(np.float32)
        answers = {"label": model.predict(inputs["X"]) + wrong, "probabilities": probabilities}
        (folder / "golden.json").write_bytes(encode_golden(Golden(inputs=inputs, outputs=answers)))
        files = {
            path.name: FileEntry(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=path.stat().st_size)
            for path in folder.iterdir()
        }
        manifest = Manifest(
            format=1,
            name="forest",
            kind="sklearn",
            engine=engine,
            entry=entry,
            task="classification",
            signature=SIGNATURE,
            files=files,
            classes=(0, 1, 2),
        )
        (folder / "manifest.json").write_bytes(encode(manifest))
        return open_package(folder)

    return package


@pytest.fixture(scope="module", params=sorted(TABLE["engine"]))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def package(name: str, make: Callable[..., Package]) -> Package:
    return make(name)


@pytest.fixture(scope="module")
def engine(package: Package) -> Iterator[Engine]:
    opened = open_engine(package)
    yield opened
    opened.close()


def test_it_proves_its_golden_examples(engine: Engine, package: Package) -> None:
    prove(engine, package)


def test_a_wrong_answer_is_told(engine: Engine, name: str, make: Callable[..., Package]) -> None:
    with pytest.raises(ModelFailed, match="label, row 0"):
        prove(engine, make(name, wrong=True))


@pytest.mark.parametrize("count", [1, 2, 7, 100, 1000])
def test_every_batch_size_answers_as_the_model_does(engine: Engine, model: RandomForestClassifier, count: int) -> None:
    inputs = rows(count, seed=count)
    answers = engine.run(inputs)
    assert list(answers) == ["label", "probabilities"]
    assert [answers[spec.name].dtype for spec in SIGNATURE.outputs] == [np.int64, np.float32]
    assert answers["label"].shape == (count,)
    np.testing.assert_array_equal(answers["label"], model.predict(inputs["X"]))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(inputs["X"]), atol=1e-5)


def test_rows_do_not_depend_on_their_neighbours(engine: Engine) -> None:
    inputs = rows(50, seed=3)
    together = engine.run(inputs)["probabilities"]
    apart = [engine.run({"X": inputs["X"][at : at + 1]})["probabilities"][0] for at in range(50)]
    np.testing.assert_allclose(together, np.stack(apart), atol=1e-6)


def test_asking_again_answers_the_same(engine: Engine) -> None:
    first, second = engine.run(rows(20)), engine.run(rows(20))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "array",
    [
        np.array([["a", "b", "c", "d"]], dtype=object),
        np.zeros((3, 5), dtype=np.float32),
        np.zeros((2, 2, 2), dtype=np.float32),
    ],
)
def test_what_conform_would_have_refused_fails_and_harms_nothing(engine: Engine, array: np.ndarray) -> None:
    with pytest.raises(ModelFailed):
        engine.run({"X": array})
    assert len(engine.run(rows(2))["label"]) == 2


def test_closing_twice_is_harmless_and_a_closed_engine_says_so(package: Package) -> None:
    engine = open_engine(package)
    engine.close()
    engine.close()
    with pytest.raises(PenstockError, match="closed"):
        engine.run(rows(1))
