"""TensorFlow's models from their files to answers over HTTP, equal to what TensorFlow itself says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_breast_cancer, load_digits

from dataplane_for_tests import DataPlane, route, until
from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, Untrusted
from penstock.packages.read import Package
from penstock.runtime.tensorflowmodel import open_saved
from penstock.runtime.tracedgraph import last_operation

pytestmark = pytest.mark.timeout(900)

CANCER = load_breast_cancer(as_frame=True)
ROWS = ((CANCER.data - CANCER.data.mean()) / CANCER.data.std()).astype(np.float32)
DIGITS = (load_digits().images[:, :, :, None] / 16).astype(np.float32)
WORDS = np.array([["good day"], ["hello water"], ["water water day"], ["nothing"]], dtype=object)
TOLERANCE = 1e-5

Answer = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Served:
    """Packages by name, what TensorFlow itself says, and a data plane that serves them all."""

    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}
        self.itself: dict[str, Answer] = {}
        self.plane: DataPlane | None = None

    def ask(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        specs = {spec.name: spec.datatype for spec in self.packages[name].manifest.signature.inputs}
        tensors = [
            {"name": one, "shape": list(array.shape), "datatype": specs[one], "data": array.reshape(-1).tolist()}
            for one, array in inputs.items()
        ]
        assert self.plane is not None
        answer = self.plane.ask("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": tensors}))
        assert answer.status == 200, answer.body
        return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answer.json["outputs"]}


def mlp() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((30,)), keras.layers.Dense(16, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile("adam", "binary_crossentropy")
    model.fit(ROWS.to_numpy(), CANCER.target.to_numpy(), epochs=3, verbose=0)
    return model


def cnn() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(DIGITS, load_digits().target, epochs=2, verbose=0)
    return model


def two_inputs() -> keras.Model:
    left, right = keras.Input((3,), name="left"), keras.Input((2, 2), name="right")
    flat = keras.layers.Flatten()(right)
    joined = keras.layers.Concatenate()([keras.layers.Dense(4, activation="tanh")(left), flat * 2 + 1])
    return keras.Model([left, right], {"price": keras.layers.Dense(1)(joined), "vector": joined})


def text() -> keras.Model:
    words = keras.layers.TextVectorization(output_sequence_length=4)
    words.adapt(["hello water", "good day"])
    return keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            words,
            keras.layers.Embedding(10, 3),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )


class TwoSignatures(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable([2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def total(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"total": tf.reduce_sum(x * self.weights, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="count")])
    def double(self, count: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"doubled": count * 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    keras.utils.set_random_seed(0)
    place = tmp_path_factory.mktemp("tensorflow")
    models = {"mlp": mlp(), "cnn": cnn(), "two": two_inputs(), "text": text()}
    for name, model in models.items():
        model.save(place / f"{name}.keras")
    models["cnn"].export(place / "exported", verbose=False)
    both = TwoSignatures()
    tf.saved_model.save(both, place / "both", signatures={"serving_default": both.total, "double": both.double})
    frame = ROWS.assign(target=CANCER.target)
    sources: dict[str, tuple[object, dict[str, object]]] = {
        "mlp": (place / "mlp.keras", {"data": frame, "labels": "target"}),
        "cnn": (models["cnn"], {"data": DIGITS, "labels": load_digits().target}),  # alive, as in a notebook
        "two": (place / "two.keras", {}),
        "text": (place / "text.keras", {"data": pd.DataFrame({"comment": WORDS[:, 0]})}),
        "exported": (place / "exported", {"data": DIGITS[:300]}),
        "double": (Path(f"savedmodel:{place / 'both'}:double"), {}),
    }

    def package(name: str) -> Package:
        model, more = sources[name]
        return build(model, BuildRequest(name=name, out=place / "packages", lock=False, **more))

    found = Served()
    with ThreadPoolExecutor(2) as pool:
        found.packages = dict(zip(sources, pool.map(package, sources), strict=True))
    found.itself = {
        "mlp": lambda given: {"p": np.asarray(models["mlp"](given["input_layer"]))},
        "cnn": lambda given: {"p": np.asarray(models["cnn"](given["input"], training=False))},
        "two": lambda given: {name: np.asarray(one) for name, one in models["two"](list(given.values())).items()},
        "text": lambda given: {"p": np.asarray(models["text"](tf.constant(given["input"])))},
    }
    plane = found.plane = DataPlane(place / "home")
    digests = {name: one.digest for name, one in found.packages.items()}
    plane.packages = {digests[name]: str(one.folder) for name, one in found.packages.items()}
    plane.write(*(route(name, digest) for name, digest in digests.items()))
    plane.start(workers=1)
    try:
        # The text model's process imports TensorFlow, which takes a busy machine its time.
        until(lambda: any(set(digests.values()) <= set(one.ready) for one in plane.statuses()), seconds=300)
        yield found
    finally:
        plane.stop()


def only(served: Served, name: str) -> str:
    (spec,) = served.packages[name].manifest.signature.inputs
    return spec.name


def test_a_network_over_columns_answers_as_keras_does(served: Served) -> None:
    manifest = served.packages["mlp"].manifest
    assert (manifest.kind, manifest.engine, manifest.classes) == ("keras", "onnxruntime", (0, 1))
    assert manifest.signature.inputs[0].columns == tuple(CANCER.feature_names)
    name = only(served, "mlp")
    answers = served.ask("mlp", {name: ROWS.to_numpy()})
    second = np.asarray(served.itself["mlp"]({"input_layer": ROWS.to_numpy()})["p"])[:, 0]
    np.testing.assert_allclose(answers["probabilities"], np.stack([1 - second, second], axis=1), atol=TOLERANCE)
    assert answers["label"].tolist() == (second > 0.5).astype(int).tolist()


@pytest.mark.parametrize("name", ["cnn", "exported"])
def test_a_network_over_images_answers_as_keras_does(served: Served, name: str) -> None:
    manifest = served.packages[name].manifest
    assert manifest.kind == ("keras" if name == "cnn" else "savedmodel")
    assert (manifest.engine, manifest.classes) == ("onnxruntime", tuple(range(10)))
    assert manifest.signature.inputs[0].shape == (-1, 8, 8, 1)
    answers = served.ask(name, {only(served, name): DIGITS})
    wanted = served.itself["cnn"]({"input": DIGITS})["p"]
    np.testing.assert_allclose(answers["probabilities"], wanted, atol=TOLERANCE)
    assert answers["label"].tolist() == wanted.argmax(axis=1).tolist()


def test_several_inputs_and_several_outputs_keep_their_names(served: Served) -> None:
    manifest = served.packages["two"].manifest
    assert (manifest.engine, manifest.classes) == ("onnxruntime", ())
    assert [(one.name, one.shape) for one in manifest.signature.inputs] == [("left", (-1, 3)), ("right", (-1, 2, 2))]
    random = np.random.default_rng(1)
    given = {
        "left": random.normal(size=(50, 3)).astype(np.float32),
        "right": random.normal(size=(50, 2, 2)).astype(np.float32),
    }
    answers = served.ask("two", given)
    wanted = served.itself["two"](given)
    assert answers.keys() == wanted.keys() == {"price", "vector"}
    for name, array in wanted.items():
        np.testing.assert_allclose(answers[name], array, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_named_signature_of_a_saved_model_is_served(served: Served) -> None:
    manifest = served.packages["double"].manifest
    assert (manifest.engine, manifest.signature.inputs[0].shape) == ("onnxruntime", (-1, 1))
    assert served.ask("double", {"count": np.array([1, -7, 40])})["doubled"].tolist() == [2, -14, 80]


def test_text_stays_in_tensorflow_and_is_answered_from_the_sandbox(served: Served) -> None:
    manifest = served.packages["text"].manifest
    assert manifest.engine == "python"
    assert "StaticRegexReplace" in manifest.parity.reason
    answers = served.ask("text", {only(served, "text"): WORDS})
    wanted = served.itself["text"]({"input": WORDS})["p"]
    np.testing.assert_allclose(answers["prediction"], wanted[:, 0], atol=TOLERANCE)
    locked = served.packages["text"].path("requirements.lock").read_text()
    assert "tensorflow-cpu==" in locked
    assert "keras==" in locked


def test_signatures_are_found_by_name_and_told_where_there_is_none(tmp_path: Path) -> None:
    both = TwoSignatures()
    tf.saved_model.save(both, tmp_path / "both", signatures={"double": both.double, "total": both.total})
    with pytest.raises(BadConfig) as refusal:
        open_saved(tmp_path / "both" / "saved_model.pb")
    assert "double, total" in refusal.value.hint
    (tmp_path / "both" / "penstock_signature").write_text("total")
    rows = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    answers = open_saved(tmp_path / "both" / "saved_model.pb").answer_arrays({"x": rows})
    np.testing.assert_allclose(answers["prediction"], rows @ np.array([2.0, 3.0]), atol=TOLERANCE)


def test_what_a_tensor_comes_from_is_found_behind_functions() -> None:
    inner = tf.function(tf.nn.softmax)
    outer = tf.function(lambda x: tf.identity(inner(x))).get_concrete_function(tf.TensorSpec([None, 3]))
    assert last_operation(outer.outputs[0]) == "Softmax"
    after = tf.function(lambda x: inner(x) + 1).get_concrete_function(tf.TensorSpec([None, 3]))
    assert last_operation(after.outputs[0]) == "AddV2"


@keras.saving.register_keras_serializable("mine")
class Doubled(keras.layers.Layer):
    def call(self, rows: object) -> object:
        return rows * 2


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (lambda: keras.layers.Lambda(lambda rows: rows * 2), "keras.layers.Lambda"),
        (Doubled, "Doubled"),
        (lambda: keras.layers.Activation(keras.ops.sin), "function"),
    ],
)
def test_a_layer_that_is_code_is_refused_by_its_place(tmp_path: Path, layer: Callable[[], object], named: str) -> None:
    model = keras.Sequential([keras.Input((3,)), layer()])
    with pytest.raises(Untrusted) as refusal:
        build(model, BuildRequest(name="code", out=tmp_path / "out", lock=False))
    assert refusal.value.code == "build.foreign_code"
    assert named in refusal.value.message
    assert "config.config.layers[1]" in refusal.value.message


@pytest.mark.parametrize("way", ["read", "write", "python"])
def test_an_exported_operation_that_reaches_out_is_refused_and_never_runs(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    ways = {
        "read": lambda x: tf.strings.to_hash_bucket_fast(tf.io.read_file(str(outside)), 5) + tf.cast(x[:, 0], tf.int64),
        "write": lambda x: [tf.io.write_file(str(outside), "spoiled"), x][1],
        "python": lambda x: tf.py_function(lambda one: one, [x], tf.float32),
    }
    module = tf.Module()
    module.serve = tf.function(ways[way], input_signature=[tf.TensorSpec([None, 2], tf.float32)])
    tf.saved_model.save(module, tmp_path / "model", signatures=module.serve)
    with pytest.raises(Untrusted) as refusal:
        build(tmp_path / "model", BuildRequest(name="out", out=tmp_path / "out", lock=False))
    named = {"read": "ReadFile", "write": "WriteFile", "python": "EagerPyFunc"}[way]
    assert refusal.value.code == "build.foreign_code"
    assert named in refusal.value.message
    assert outside.read_text() == "secret"
